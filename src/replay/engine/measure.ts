/** Drives a cache through a stream, part by part, and keeps what it counted of each. */
import type { PageStream } from './page-stream.ts';
import { type Counts, type Run, type RunResult, SERIES_POINTS } from './run.ts';

/** What both engines are to the measurement. All counts grow only. */
export interface CountingCache {
  readonly hits: number;
  readonly misses: number;
  readonly coldMisses: number;
  readonly evictions: number;
  readonly ghostHits: number;
  /** Pages that were dropped by a write. */
  readonly invalidations: number;
  /** By number of the volume; need not be kept where there is one volume only. */
  readonly hitsOfVolume: Float64Array;
  readonly missesOfVolume: Float64Array;
  /** Takes the requests of the stream from one index to before another, each once, in order. */
  run(from: number, to: number): void;
}

/** What was run, as results name it. */
export function identityOf(stream: PageStream, { policy, capacityPages }: Run) {
  return {
    trace: stream.traceName,
    policy,
    capacityPages,
    capacityBytes: capacityPages * stream.pageBytes,
    footprintPages: stream.pageCount,
  };
}

/** Runs the stream to its end. */
export function measure(
  stream: PageStream,
  cache: CountingCache,
  run: Pick<Run, 'warmupRequests'>,
  onProgress?: (doneRequests: number) => void,
) {
  const { requestCount } = stream;
  const warmupEnd = Math.min(run.warmupRequests ?? 0, requestCount);
  const points = Math.min(SERIES_POINTS, requestCount);
  const series = { requests: [] as number[], hits: [] as number[] };
  let start = startOf(cache);
  for (let point = 0, from = 0; point < points; point++) {
    const to = Math.floor((requestCount * (point + 1)) / points);
    const [hits, misses] = [cache.hits, cache.misses];
    if (from < warmupEnd) {
      cache.run(from, Math.min(to, warmupEnd));
      if (to >= warmupEnd) start = startOf(cache);
    }
    if (to > warmupEnd) cache.run(Math.max(from, warmupEnd), to);
    series.hits.push(cache.hits - hits);
    series.requests.push(cache.hits - hits + cache.misses - misses);
    onProgress?.(to);
    from = to;
  }
  return {
    ...countsSince(cache, start.counts),
    evictions: cache.evictions - start.evictions,
    ghostHits: cache.ghostHits - start.ghostHits,
    invalidations: cache.invalidations - start.invalidations,
    warmup: start.counts,
    timeSeries: series,
    volumes: volumesSince(cache, start),
  };
}

/** What a cache had counted when the warm-up ended. */
interface Start {
  readonly counts: Counts;
  readonly evictions: number;
  readonly ghostHits: number;
  readonly invalidations: number;
  readonly hitsOfVolume: Float64Array;
  readonly missesOfVolume: Float64Array;
}

function startOf(cache: CountingCache): Start {
  const { evictions, ghostHits, invalidations } = cache;
  return {
    counts: countsSince(cache, { requests: 0, hits: 0, misses: 0, coldMisses: 0 }),
    ...{ evictions, ghostHits, invalidations },
    hitsOfVolume: cache.hitsOfVolume.slice(),
    missesOfVolume: cache.missesOfVolume.slice(),
  };
}

function countsSince(cache: CountingCache, before: Counts): Counts {
  const hits = cache.hits - before.hits;
  const misses = cache.misses - before.misses;
  return {
    requests: hits + misses,
    hits,
    misses,
    coldMisses: cache.coldMisses - before.coldMisses,
  };
}

/** With one volume its counts are those of the run. */
function volumesSince(cache: CountingCache, start: Start): RunResult['volumes'] {
  if (cache.hitsOfVolume.length === 1) {
    const { requests, hits } = countsSince(cache, start.counts);
    return { requests: [requests], hits: [hits] };
  }
  const hits = [...cache.hitsOfVolume].map((count, i) => count - start.hitsOfVolume[i]!);
  const misses = [...cache.missesOfVolume].map((count, i) => count - start.missesOfVolume[i]!);
  return { requests: hits.map((count, i) => count + misses[i]!), hits };
}
