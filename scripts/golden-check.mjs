#!/usr/bin/env node
/**
 * Replays known traces and compares how often each policy misses with counts on which other
 * implementations agree.
 *
 *   npm run build && node scripts/golden-check.mjs DIRECTORY [STREAM]...
 *
 * DIRECTORY has `golden.csv` (stream, policy, capacity_pages, requests, misses) and the traces:
 * cloudphysics/cloudPhysicsIO.{vscsi,txt}, arc/NAME.lis.zst and lirs/NAME.trace.gz. Their licences
 * do not let them be part of this project. Prints each row that differs, then the sum; exits with 1
 * if there is any.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildPageStream } from '../dist/replay/engine/page-stream.js';
import { runAll } from '../dist/replay/engine/run-all.js';
import { openTrace } from '../dist/trace/open-trace.js';

/** The files and the reading of a stream. */
function streamNamed(name) {
  const [family, rest] = [name.slice(0, name.indexOf('-')), name.slice(name.indexOf('-') + 1)];
  switch (family) {
    case 'cp':
      return rest === 'lbn'
        ? { file: 'cloudphysics/cloudPhysicsIO.txt', format: 'lirs' }
        : {
            file: 'cloudphysics/cloudPhysicsIO.vscsi',
            ops: rest === '4k-rd' ? 'reads' : 'all',
            pageBytes: 4096,
          };
    case 'arc':
      return rest.endsWith('-4k')
        ? { file: `arc/${rest.slice(0, -3)}.lis.zst`, pageBytes: 4096 }
        : { file: `arc/${rest}.lis.zst`, pageBytes: 512 };
    case 'lirs':
      return { file: `lirs/${rest}.trace.gz` };
    default:
      throw new Error(`golden.csv names a stream ${name}, which this script does not know`);
  }
}

const [directory, ...wanted] = process.argv.slice(2);
if (directory === undefined) {
  console.error('golden-check: name the directory that has golden.csv and the traces');
  process.exit(2);
}
const [, ...lines] = readFileSync(join(directory, 'golden.csv'), 'utf8').trim().split('\n');
const rowsByStream = new Map();
for (const line of lines) {
  const [name, policy, capacity, requests, misses] = line.split(',');
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  if (!rowsByStream.has(name)) rowsByStream.set(name, []);
  const row = { policy, capacityPages: +capacity, requests: +requests, misses: +misses };
  rowsByStream.get(name).push(row);
}
let [equal, different] = [0, 0];
for (const [name, rows] of rowsByStream) {
  const { file, format, ...options } = streamNamed(name);
  const trace = await openTrace([join(directory, file)], { format });
  const stream = await buildPageStream(trace, options);
  const results = await runAll(stream, rows);
  for (const [i, { policy, capacityPages, requests, misses }] of rows.entries()) {
    const result = results[i];
    if (result.requests === requests && result.misses === misses) {
      equal++;
      continue;
    }
    different++;
    console.log(
      `${name} ${policy} ${capacityPages}: ${result.misses} misses of ${result.requests}, ` +
        `not ${misses} of ${requests}`,
    );
  }
}
console.log(`${equal} equal, ${different} different`);
process.exit(different === 0 && equal > 0 ? 0 : 1);
