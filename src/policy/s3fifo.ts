/**
 * S3-FIFO as published: Yang et al., "FIFO queues are all you need for cache eviction" (SOSP'23),
 * algorithm 1, with two hits in the small queue as the price of the main one, as its authors'
 * code has it. It is `s3fifo-cw` with a window of nothing.
 */
import type { PolicyOptions } from './policy.ts';
import { S3FifoCwFamily, type S3FifoCwTuning } from './s3fifo-cw.ts';

/** With fewer pages a tenth of them is one page; then all enter main, as in the authors' code. */
const CLOCK_BELOW_PAGES = 20;

/** What differs from `S3FIFO_CW_DEFAULTS`. */
export const S3FIFO_TUNING: Partial<S3FifoCwTuning> = {
  promoteAtHits: 2,
  windowShare: 0,
  windowMinInsertions: 0,
  clockBelowPages: CLOCK_BELOW_PAGES,
};

/** A family of S3-FIFOs. */
export function s3FifoFamily(
  options: PolicyOptions,
  tuning: Partial<S3FifoCwTuning> = {},
): S3FifoCwFamily {
  return new S3FifoCwFamily(options, { ...S3FIFO_TUNING, ...tuning }, 's3fifo');
}
