/** What a trace that is a sample of a workload's pages says of the whole workload. */

import { formatCounted, formatPercent } from '../../lib/quantities.ts';
import { formatSize } from '../../lib/sizes.ts';
import { SAMPLE_PAGE_BYTES } from '../../trace/own/format.ts';
import { PageSampler, SPLIT_BYTES_MAX } from '../../trace/own/page-sampler.ts';
import { OP, RequestBatch } from '../../trace/request-batch.ts';
import { sampledBatches } from '../../trace/sampled-batches.ts';
import type { Trace } from '../../trace/trace.ts';

/** How the trace is scaled. */
export interface TraceSample {
  /** The share of the workload's pages that it stands for; 1 where nothing is to be scaled. */
  readonly rate: number;
  /** What the reader should know of it; sentences. */
  readonly notes: readonly string[];
}

/**
 * A sample behaves like the whole in a cache that is as much smaller, if it has all uses of a page
 * or none: pages must be those that it was taken by, or parts of them.
 */
export function traceSampleOf(
  { unit, sampleRate, sampleRates }: Trace,
  { engine, pageBytes }: { readonly engine: string; readonly pageBytes: number },
): TraceSample {
  if (sampleRate === 1) return { rate: 1, notes: [] };
  const asIs = (why: string): TraceSample => ({
    rate: 1,
    notes: [
      `The trace is a sample of pages, and not scaled ${why}: sizes are of the sample alone.`,
    ],
  });
  if (sampleRates.some((rate) => rate !== sampleRate))
    return asIs('since its files have different shares of them');
  if (engine === 'full') return asIs('since layers do not scale down');
  if (unit === 'bytes' && SAMPLE_PAGE_BYTES % pageBytes !== 0) {
    const taken = formatSize(SAMPLE_PAGE_BYTES);
    return asIs(`to pages of ${formatSize(pageBytes)} since it was taken by those of ${taken}`);
  }
  const note =
    `The trace has ${formatPercent(sampleRate)} of the pages: sizes, footprint and accesses are scaled ` +
    'to all of them, requests and bytes are those of the sample.';
  return { rate: sampleRate, notes: [note] };
}

/**
 * A sample holds long requests as they are, which are not to be scaled. Of these the pages are taken
 * that would be in it if they had been split; where the hash does not tell, they are left out.
 */
export class SampledRequests {
  /** Reads, writes and zeroes that were left out. */
  leftOut = 0;
  readonly #trace: Trace;
  readonly #rate: number;

  /** `rate` is that of `traceSampleOf`. */
  constructor(trace: Trace, rate: number) {
    this.#trace = trace;
    this.#rate = rate;
  }

  /** The requests that stand for the share; the batch is the same object every time. */
  batches(): AsyncIterable<RequestBatch> {
    const trace = this.#trace;
    if (this.#rate === 1) return trace.batches();
    if (trace.isMergedSample) return this.#withoutLong();
    // Also of short ones, since the rest of a request in several records may be one.
    const sampler = new PageSampler(this.#rate, Number.POSITIVE_INFINITY);
    return sampledBatches(trace.batches(), trace.unit, sampler, isNoAccess);
  }

  /** What is to be said of it; sentences. */
  notes(): string[] {
    if (this.leftOut === 0) return [];
    const requests = formatCounted(this.leftOut, 'request', 'requests');
    const size = formatSize(SPLIT_BYTES_MAX);
    return [
      `${requests} above ${size} ${this.leftOut === 1 ? 'is' : 'are'} left out: samples have such ` +
        'as a whole, and which of their pages count is not known once samples were put together.',
    ];
  }

  async *#withoutLong(): AsyncGenerator<RequestBatch> {
    const out = new RequestBatch();
    for await (const batch of this.#trace.batches()) {
      for (let index = 0; index < batch.count; index++) {
        const isLong = batch.length[index]! > SPLIT_BYTES_MAX;
        if (isLong && !isNoAccess(batch.op[index]!)) {
          this.leftOut++;
          continue;
        }
        out.pushFrom(batch, index);
        if (out.count < out.capacity) continue;
        yield out;
        out.count = 0;
      }
    }
    if (out.count > 0) yield out;
  }
}

/** Trims only drop pages that are known from the sample, and may be longer than can be split. */
function isNoAccess(op: number): boolean {
  return op === OP.trim || op === OP.flush;
}
