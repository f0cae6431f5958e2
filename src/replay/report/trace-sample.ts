/** What a trace that is a sample of a workload's pages says of the whole workload. */

import { formatSize } from '../../lib/sizes.ts';
import { SAMPLE_PAGE_BYTES } from '../../trace/own/format.ts';
import type { Trace } from '../../trace/trace.ts';
import { percent } from './format.ts';

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
  { unit, sampleRate, isEvenSample }: Trace,
  { engine, pageBytes }: { readonly engine: string; readonly pageBytes: number },
): TraceSample {
  if (sampleRate === 1) return { rate: 1, notes: [] };
  const asIs = (why: string): TraceSample => ({
    rate: 1,
    notes: [
      `The trace is a sample of pages, and not scaled ${why}: sizes are of the sample alone.`,
    ],
  });
  if (!isEvenSample) return asIs('since its files have different shares of them');
  if (engine === 'full') return asIs('since layers do not scale down');
  if (unit === 'bytes' && SAMPLE_PAGE_BYTES % pageBytes !== 0) {
    const taken = formatSize(SAMPLE_PAGE_BYTES);
    return asIs(`to pages of ${formatSize(pageBytes)} since it was taken by those of ${taken}`);
  }
  const note =
    `The trace has ${percent(sampleRate)} of the pages: sizes, footprint and accesses are scaled ` +
    'to all of them, requests and bytes are those of the sample.';
  return { rate: sampleRate, notes: [note] };
}
