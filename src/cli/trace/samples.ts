/** What may become of traces that are samples: the share that is noted must be true of the result. */

import { basename } from 'node:path';
import { TmemError } from '../../lib/errors.ts';
import { sampleThresholdOf } from '../../trace/own/page-sampler.ts';
import type { Trace } from '../../trace/trace.ts';

const DECIMALS_MAX = 9;

/** A share as `--sample` takes it, in as few digits as choose the same pages. */
export function shareText(rate: number): string {
  for (let decimals = 0; decimals < DECIMALS_MAX; decimals++) {
    const text = (rate * 100).toFixed(decimals);
    const isSame = sampleThresholdOf(Number(text) / 100) === sampleThresholdOf(rate);
    if (isSame && Number(text) > 0) return `${text}%`;
  }
  // Upwards, since what is between two thresholds belongs to the lower one.
  return `${(Math.ceil(rate * 1e11) / 1e9).toFixed(DECIMALS_MAX)}%`;
}

/** The share of the pages that is in all of `traces`. Throws a `TmemError` where they differ. */
export function commonSampleRate(traces: readonly Trace[]): number {
  const files = traces.flatMap(({ paths, sampleRates }) =>
    paths.map((path, at) => ({ name: basename(path), rate: sampleRates[at] ?? 1 })),
  );
  const least = files.reduce((one, other) => (other.rate < one.rate ? other : one));
  const fuller = files.find(({ rate }) => rate !== least.rate);
  if (fuller === undefined) return least.rate;
  const [share, more] = [shareText(least.rate), shareText(fuller.rate)];
  throw new TmemError(
    'invalid',
    `${least.name} has ${share} of the pages and ${fuller.name} ${more}, which are no sample ` +
      `together; give all of them the same share first (tmem trace cut --sample ${share})`,
  );
}

/** A part of a sample is chosen by the same hash; throws a `TmemError` where that is lost. */
export function refuseSampleOf({ paths, isMergedSample }: Trace, rate: number): void {
  if (!isMergedSample || rate === 1) return;
  const [path = ''] = paths;
  const [what, cure] =
    paths.length > 1
      ? [`${basename(path)} and the others are samples`, 'cut each of them alone']
      : [`${basename(path)} was put together from samples`, 'cut each of those alone'];
  throw new TmemError(
    'unsupported',
    `--sample: ${what}, and which share a part of them together would be is not known; ` +
      `${cure}, then merge them (tmem trace merge)`,
  );
}
