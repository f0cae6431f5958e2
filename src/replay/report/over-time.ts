/** The hit ratio of each policy in each part of a trace. */

import type { PageStream } from '../engine/page-stream.ts';
import { footprintOverTime } from './page-statistics.ts';
import type { PolicyRun } from './policy-runs.ts';
import type { ReplayReport } from './report.ts';

/** Parts that are shown; the engine counts more. */
const PARTS = 50;

function sums(values: readonly number[], parts: number): number[] {
  const found = Array.from({ length: parts }, () => 0);
  for (const [at, value] of values.entries()) {
    const part = Math.floor((at * parts) / values.length);
    found[part] = (found[part] ?? 0) + value;
  }
  return found;
}

function ratios(counts: readonly number[], all: readonly number[]): (number | null)[] {
  return all.map((total, part) => (total === 0 ? null : (counts[part] ?? 0) / total));
}

/** First uses in each of `points` equal parts. */
function firstUses(stream: PageStream, points: number): number[] {
  const seen = footprintOverTime(stream, points).map(({ y }) => y);
  return seen.slice(1).map((pages, at) => pages - (seen[at] ?? 0));
}

/** The first request of each part, and when it was: seconds since the first of all. */
function startsOf(stream: PageStream, parts: number) {
  return Array.from({ length: parts }, (_, part) => {
    const at = Math.floor((stream.requestCount * part) / parts);
    const timeUs = stream.times[Math.floor(at / stream.timeStride)] ?? stream.lastTimeUs;
    return {
      access: Math.round(at / stream.sampleRate),
      seconds: Math.max(0, (timeUs - stream.firstTimeUs) / 1e6),
    };
  });
}

/** The runs at `capacityPages` over time. */
export function overTimeOf(
  stream: PageStream,
  runs: readonly PolicyRun[],
  capacityPages: number,
): ReplayReport['overTime'] {
  const chosen = runs.filter(({ facts }) => facts.capacityPages === capacityPages);
  const series = chosen[0]?.result.timeSeries ?? { requests: [], hits: [] };
  const parts = Math.min(PARTS, series.requests.length);
  const requests = sums(series.requests, parts);
  return {
    capacityPages,
    starts: startsOf(stream, parts),
    policies: chosen.map(({ facts, result }) => ({
      policy: facts.policy,
      hitRatios: ratios(sums(result.timeSeries.hits, parts), requests),
    })),
    coldMissRatios: ratios(sums(firstUses(stream, series.requests.length), parts), requests),
  };
}
