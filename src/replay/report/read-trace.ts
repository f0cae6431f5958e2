/** Reads a trace once: into the pages that it uses, and into what is told of it. */

import { TmemError } from '../../lib/errors.ts';
import { formatCounted } from '../../lib/quantities.ts';
import type { RequestBatch } from '../../trace/request-batch.ts';
import type { Trace } from '../../trace/trace.ts';
import { buildPageStream, type PageStream } from '../engine/page-stream.ts';
import type { ReplayOptions } from './replay.ts';
import { RequestStatistics } from './request-statistics.ts';
import { SampledRequests, traceSampleOf } from './trace-sample.ts';

/** What a trace was read into. */
export interface ReadTrace {
  readonly trace: Trace;
  readonly stream: PageStream;
  readonly statistics: RequestStatistics;
  /** Accesses of the whole workload, of which the trace may be a sample, and those before the first that counts. */
  readonly accesses: number;
  readonly warmupAccesses: number;
  readonly footprintPages: number;
  /** What is to be said of a trace that is a sample; sentences. */
  readonly notes: readonly string[];
}

/** Reads all of `trace`. Throws as `replay` does. */
export async function readTrace(trace: Trace, options: ReplayOptions): Promise<ReadTrace> {
  const { pageBytes, ops, sampleRate, signal } = options;
  const sample = traceSampleOf(trace, options);
  const sampled = new SampledRequests(trace, sample.rate);
  const statistics = new RequestStatistics({ unit: trace.unit, pageBytes });
  const built = await buildPageStream(
    {
      name: trace.name,
      unit: trace.unit,
      // Known only while the trace is read.
      get volumes() {
        return trace.volumes;
      },
      canRereads: trace.canRereads,
      batches: () => countedBatches(trace, sampled.batches(), statistics, options),
    },
    { pageBytes, ops, sampleRate, signal },
  );
  refuseNothing(trace, built, statistics, options);
  const stream = { ...built, sampleRate: sampleRate * sample.rate };
  const { readPages, writePages } = statistics;
  const read = ops === 'all' ? readPages + writePages : readPages;
  const accesses = Math.round(read / sample.rate);
  const { warmup } = options;
  const warmupAccesses =
    warmup.kind === 'share' ? Math.floor(accesses * warmup.share) : warmup.accesses;
  if (warmupAccesses >= accesses) {
    throw new TmemError(
      'usage',
      `--warmup: ${trace.name} has ${formatCounted(accesses, 'access', 'accesses')}, so a warm-up of ${warmupAccesses} leaves none to count`,
    );
  }
  const footprintPages = Math.round(stream.pageCount / stream.sampleRate);
  const notes = [...sample.notes, ...sampled.notes()];
  return { trace, stream, statistics, accesses, warmupAccesses, footprintPages, notes };
}

/** The batches, counted as they go by. */
async function* countedBatches(
  trace: Trace,
  batches: AsyncIterable<RequestBatch>,
  statistics: RequestStatistics,
  { onProgress, signal }: ReplayOptions,
): AsyncGenerator<RequestBatch> {
  for await (const batch of batches) {
    signal?.throwIfAborted();
    statistics.add(batch);
    yield batch;
    onProgress?.({ phase: 'reading', done: trace.doneBytes, all: trace.sizeBytes });
  }
}

function refuseNothing(
  { name, statistics: { requests: read } }: Trace,
  { accessCount, ops }: PageStream,
  { requests }: RequestStatistics,
  { sampleRate }: ReplayOptions,
): void {
  if (accessCount > 0) return;
  const refuse = (message: string): never => {
    throw new TmemError('invalid', message);
  };
  if (requests === 0 && read > 0) {
    const all = formatCounted(read, 'request has', 'requests have');
    refuse(`${name} is a sample of pages, and its ${all} none that count; take a larger sample`);
  }
  if (requests === 0) refuse(`${name} has no requests in it; check that it is the right file`);
  const all = formatCounted(requests, 'request', 'requests');
  if (sampleRate < 1) {
    refuse(`${name} has none of its ${all} in the sample; give a larger --sample`);
  }
  const advice = ops === 'all' ? 'nothing to replay' : 'nothing to replay with that; try --ops all';
  refuse(`${name} has ${all}, but --ops ${ops} leaves ${advice}`);
}
