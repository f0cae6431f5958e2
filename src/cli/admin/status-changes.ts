/** What happened between two looks at a service: the differences of its counters. */

import type { LayerStatus, ServiceStatus } from '../../admin/api.ts';

/** A status, and when it was had. */
export interface Sample {
  readonly status: ServiceStatus;
  /** On a clock that only goes forward; milliseconds. */
  readonly atMs: number;
}

export interface ExportChanges {
  readonly readsPerSecond: number;
  /** The share of the reads since that memory answered, 0 to 1; undefined without reads. */
  readonly hitRatio: number | undefined;
}

export interface LayerChanges {
  readonly evictionsPerSecond: number;
  /** The share of the gets since that found their page, 0 to 1; undefined without gets. */
  readonly hitRatio: number | undefined;
}

/** By name, each export and layer that was there both times. */
export interface Changes {
  readonly exports: ReadonlyMap<string, ExportChanges>;
  readonly layers: ReadonlyMap<string, LayerChanges>;
}

/** The share of hits, 0 to 1; undefined where nothing was asked. */
export function hitRatio(counts: {
  readonly hits: number;
  readonly misses: number;
}): number | undefined {
  const all = counts.hits + counts.misses;
  return all > 0 ? counts.hits / all : undefined;
}

/** Every page that a layer dropped, for whatever reason. */
export function evictionCount({ evictions }: LayerStatus): number {
  return evictions.capacity + evictions.shrink + evictions.filledCap;
}

type HitCounts = Parameters<typeof hitRatio>[0];

function since(before: HitCounts, after: HitCounts): HitCounts {
  return { hits: after.hits - before.hits, misses: after.misses - before.misses };
}

/** Pairs what bears one name before and after. */
function changesByName<Item extends { readonly name: string }, Change>(
  before: readonly Item[],
  after: readonly Item[],
  changeOf: (before: Item, after: Item) => Change,
): ReadonlyMap<string, Change> {
  const earlier = new Map(before.map((item) => [item.name, item]));
  const changes = new Map<string, Change>();
  for (const item of after) {
    const previous = earlier.get(item.name);
    if (previous !== undefined) changes.set(item.name, changeOf(previous, item));
  }
  return changes;
}

/**
 * What happened from one sample to the next; undefined when that cannot be said, because the
 * service was started anew between them or no time went by.
 */
export function changesBetween(before: Sample, after: Sample): Changes | undefined {
  const seconds = (after.atMs - before.atMs) / 1000;
  if (seconds <= 0 || before.status.startedAt !== after.status.startedAt) return undefined;
  return {
    exports: changesByName(before.status.exports, after.status.exports, (earlier, later) => {
      const reads = since(earlier.reads, later.reads);
      return {
        readsPerSecond: (reads.hits + reads.misses) / seconds,
        hitRatio: hitRatio(reads),
      };
    }),
    layers: changesByName(before.status.layers, after.status.layers, (earlier, later) => ({
      evictionsPerSecond: (evictionCount(later) - evictionCount(earlier)) / seconds,
      hitRatio: hitRatio(since(earlier, later)),
    })),
  };
}
