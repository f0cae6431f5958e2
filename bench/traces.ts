/**
 * How fast traces are read, one thread each: text and binary formats, compressed or not; and what
 * recording a request costs. The requests are made up, the same in every run.
 *
 *   npm run bench:traces [-- --smoke]
 */

import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import type { ExportOptions } from '../src/trace/export/exporter.ts';
import { outputOfName } from '../src/trace/export/exporters.ts';
import { OutputFile } from '../src/trace/export/output-file.ts';
import { openTrace } from '../src/trace/open-trace.ts';
import { OwnTraceWriter } from '../src/trace/own/writer.ts';

const { values } = parseArgs({ options: { smoke: { type: 'boolean', default: false } } });
const LINES = values.smoke ? 20_000 : 2_000_000;
const ROUNDS = values.smoke ? 1 : 5;
/** What reading MSR Cambridge has to come to, lines a second. */
const GOAL = 2e6;

interface Result {
  readonly what: string;
  /** Requests a second, the best round; and all of them. */
  readonly best: number;
  readonly rounds: readonly number[];
  readonly megabytesPerSecond: number;
}

const results: Result[] = [];

/** Numbers below `limit`, the same in every run (xorshift32). */
class Random {
  #state = 12345;

  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % limit;
  }
}

function msrLines(count: number): Buffer {
  const random = new Random();
  const lines: string[] = [];
  let ticks = 128_166_372_003_000_000n;
  for (let line = 0; line < count; line++) {
    ticks += BigInt(random.below(20_000));
    const type = random.below(3) === 0 ? 'Write' : 'Read';
    const range = `${random.below(2 ** 28) * 512},${(1 + random.below(16)) * 4096}`;
    lines.push(`${ticks},usr,${random.below(3)},${type},${range},${random.below(100_000)}\n`);
  }
  return Buffer.from(lines.join(''));
}

function report(what: string, rounds: readonly number[], bytes: number, requests: number): void {
  const best = Math.max(...rounds);
  const megabytesPerSecond = (best * bytes) / requests / 1e6;
  results.push({ what, best, rounds, megabytesPerSecond });
  const rate = `${(best / 1e6).toFixed(2)} M requests/s`;
  console.log(
    `${what.padEnd(40)} ${rate.padStart(20)} ${megabytesPerSecond.toFixed(0).padStart(6)} MB/s`,
  );
}

async function measureReading(what: string, path: string): Promise<void> {
  const rounds: number[] = [];
  let requests = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const trace = await openTrace([path]);
    const start = performance.now();
    requests = 0;
    for await (const batch of trace.batches()) requests += batch.count;
    rounds.push(requests / ((performance.now() - start) / 1000));
  }
  report(what, rounds, statSync(path).size, requests);
}

async function convert(from: string, to: string, path: string): Promise<void> {
  const trace = await openTrace([from]);
  const file = await OutputFile.create(path, true);
  const options: ExportOptions = {
    ...{ unit: trace.unit, hasClock: true, pageBytes: 4096, sourceHash: '', sampleRate: 1 },
    ...{ volumes: () => trace.volumes, onSecondPass: () => {} },
  };
  const exporter = outputOfName(to).create(file, options);
  for await (const batch of trace.batches()) await exporter.write(batch);
  await exporter.finish();
  await file.finish();
}

/** What a service pays for each request it records, with a disk that takes everything. */
async function measureRecording(what: string, sampleRate: number): Promise<void> {
  const rounds: number[] = [];
  let bytes = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const writer = new OwnTraceWriter({ write: () => Promise.resolve() }, { sampleRate });
    const volume = writer.addVolume('disk');
    await writer.start();
    const start = performance.now();
    for (let request = 0; request < LINES; request++) {
      if (!writer.hasRoom) await writer.room();
      writer.append(request, request * 4096, 4096, volume, 0, 0, 100, 0);
    }
    await writer.close();
    rounds.push(LINES / ((performance.now() - start) / 1000));
    bytes = writer.sizeBytes;
  }
  report(what, rounds, bytes, LINES);
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tmem-bench-traces-'));
  try {
    const at = (name: string): string => join(folder, name);
    const lines = msrLines(LINES);
    writeFileSync(at('msr.csv'), lines);
    writeFileSync(at('msr.csv.gz'), gzipSync(lines, { level: 6 }));
    for (const name of ['tmem', 'csv', 'oracle-general'])
      await convert(at('msr.csv'), name, at(name));
    await measureReading('read MSR Cambridge', at('msr.csv'));
    await measureReading('read MSR Cambridge, gzip', at('msr.csv.gz'));
    await measureReading('read CSV with named columns', at('csv'));
    await measureReading('read oracleGeneral (one a page)', at('oracle-general'));
    await measureReading("read tmem's own", at('tmem'));
    await measureRecording('record', 1);
    await measureRecording('record a tenth of the pages', 0.1);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const best = results[0]?.best ?? 0;
  if (!values.smoke) {
    const verdict = best >= GOAL ? 'met' : 'MISSED';
    console.log(`goal ${verdict}: MSR Cambridge at ${GOAL / 1e6} M lines/s in one thread`);
    const surroundings = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version };
    mkdirSync('bench/results', { recursive: true });
    const text = JSON.stringify({ surroundings, lines: LINES, goal: GOAL, results }, undefined, 2);
    writeFileSync('bench/results/traces.json', `${text}\n`);
    if (best < GOAL) process.exitCode = 1;
  }
}

await main();
