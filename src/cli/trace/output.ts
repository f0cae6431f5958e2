/** Writing traces, for the verbs that do. */

import { TmemError } from '../../lib/errors.ts';
import { formatCount } from '../../lib/quantities.ts';
import { formatSize, parseSize } from '../../lib/sizes.ts';
import type { Exporter } from '../../trace/export/exporter.ts';
import { OUTPUT_NAMES, outputNameOf, outputOfName } from '../../trace/export/exporters.ts';
import { OutputFile } from '../../trace/export/output-file.ts';
import { storageSuffix } from '../../trace/file-head.ts';
import type { RequestBatch } from '../../trace/request-batch.ts';
import type { Trace } from '../../trace/trace.ts';
import type { OptionTable } from '../command/arguments.ts';
import { fullPath } from '../command/context.ts';
import { printable } from '../terminal/table.ts';
import type { TraceCall, TraceResult } from './verb.ts';

const PAGE_DEFAULT = '4KiB';
const NO_PAGES = 'none';
const PAGE_BYTES_MAX = 64 * 1024 * 1024;

/** Where and how traces are written. */
export const OUTPUT_OPTIONS = {
  out: { short: 'o', value: 'FILE', help: 'where the trace goes' },
  to: {
    value: 'NAME',
    help: `its format: ${OUTPUT_NAMES.join(', ')}\n(default: what FILE is called like, else tmem)`,
  },
  page: {
    value: 'SIZE',
    help: `what requests are split into for the formats of libCacheSim, or ${NO_PAGES}\n(default: ${PAGE_DEFAULT})`,
  },
  force: { help: 'replace FILE if it exists' },
} as const satisfies OptionTable<string>;

/** Requests to be written, and what is known of them. */
export interface RequestSource {
  readonly unit: Trace['unit'];
  readonly hasClock: boolean;
  readonly sourceHash: string;
  readonly sampleRate: number;
  readonly isMergedSample: boolean;
  volumes(): readonly string[];
  batches(): AsyncIterable<RequestBatch>;
  /** The traces that are read meanwhile, for progress and warnings. */
  readonly traces: readonly Trace[];
}

function parsePage(text: string): number {
  if (text === NO_PAGES) return 0;
  const bytes = parseSize(text);
  const isPower = bytes > 0 && Number.isInteger(Math.log2(bytes));
  if (isPower && bytes >= 512 && bytes <= PAGE_BYTES_MAX) return bytes;
  throw new TmemError('usage', `--page: "${text}" is no power of two from 512 to 64MiB, nor none`);
}

function doneOf(traces: readonly Trace[]): number {
  let [done, size] = [0, 0];
  for (const { doneBytes, sizeBytes } of traces) {
    done += doneBytes;
    size += sizeBytes;
  }
  return size === 0 ? 0 : done / size;
}

/** `x.csv.gz` would be neither CSV, which only the last suffix is looked at for, nor compressed. */
function refuseCompressed(path: string): void {
  const suffix = storageSuffix(path);
  if (suffix === '') return;
  const sentence = `${path} is called like a compressed file, and traces are written as they are`;
  throw new TmemError('usage', `${sentence}; leave ${suffix} out, and compress it afterwards`);
}

/** What comes last is written into a header, or the records before: a pipe has none of that. */
function refuseStdout(): never {
  throw new TmemError(
    'usage',
    'a trace is written to a file, not to stdout; name one (./- for a file that is called -)',
  );
}

/** Writes all requests of `source` to the file that the options name; nothing is left of a failure. */
export async function writeTrace(call: TraceCall, source: RequestSource): Promise<TraceResult> {
  const { parsed, context, progress } = call;
  const out = parsed.last('out');
  if (out === undefined) throw new TmemError('usage', 'no output was named; give --out FILE');
  if (out === '-') refuseStdout();
  const path = fullPath(out, context);
  refuseCompressed(path);
  const name = parsed.last('to') ?? outputNameOf(path);
  const output = outputOfName(name);
  const pageBytes = parsePage(parsed.last('page') ?? PAGE_DEFAULT);
  const file = await OutputFile.create(path, parsed.has('force'));
  try {
    const exporter = output.create(file, {
      ...{ unit: source.unit, hasClock: source.hasClock, pageBytes },
      ...{ sourceHash: source.sourceHash, sampleRate: source.sampleRate },
      isMergedSample: source.isMergedSample,
      volumes: () => source.volumes(),
      onSecondPass: (done) => {
        call.stopped.throwIfAborted();
        progress.show('second pass', done, exporter.written);
      },
    });
    const requests = await copyAll(call, source, exporter);
    await exporter.finish();
    await file.finish();
    progress.clear();
    const warnings = source.traces.flatMap(({ statistics }) => statistics.warnings);
    const { written } = exporter;
    const sizeBytes = await file.sizeBytes();
    const what = `${formatCount(requests)} requests as ${formatCount(written)} records of ${name}`;
    return {
      json: { output: path, format: name, requests, records: written, sizeBytes, warnings },
      text: `wrote ${what} to ${printable(path)}, ${formatSize(sizeBytes)}\n`,
      warnings,
    };
  } catch (error) {
    await file.abandon();
    throw error;
  }
}

async function copyAll(
  call: TraceCall,
  source: RequestSource,
  exporter: Exporter,
): Promise<number> {
  let requests = 0;
  for await (const batch of source.batches()) {
    call.stopped.throwIfAborted();
    requests += batch.count;
    await exporter.write(batch);
    call.progress.show('reading', doneOf(source.traces), requests);
  }
  if (requests > 0) return requests;
  throw new TmemError(
    'invalid',
    'no request is left, so that nothing was written; keep more of it',
  );
}
