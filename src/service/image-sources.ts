/** The images of a service as metrics see them: each once, however many exports are based on it. */

import type { BaseImages } from '../export/base-images.ts';
import type { Export } from '../export/export.ts';
import type { BlockImage } from '../image/image.ts';
import type { TableStatistics } from '../image/tables/table-cache.ts';
import type { ImageSource } from '../metrics/sources.ts';

interface Gathered {
  readonly poolId: number;
  readonly images: Set<BlockImage>;
}

/** By name; an image that several exports opened for themselves counts as one. */
export function imageSources(
  exports: readonly Export[],
  baseImages: BaseImages,
): readonly ImageSource[] {
  const gathered = new Map<string, Gathered>();
  const gather = (image: BlockImage, poolId: number): void => {
    const known = gathered.get(image.name);
    if (known === undefined) gathered.set(image.name, { poolId, images: new Set([image]) });
    else known.images.add(image);
  };
  for (const { image, cache } of exports) {
    gather(image, cache.pool.id);
    for (let base = image.backing; base !== undefined; base = base.backing) {
      gather(base, baseImages.poolIdOf(base) ?? cache.pool.id);
    }
  }
  for (const { image, cache } of baseImages.all) gather(image, cache.pool.id);
  return [...gathered].map(([name, { poolId, images }]) => {
    const all = [...images];
    const [first] = all;
    return {
      name,
      formatName: first?.formatName ?? 'raw',
      poolId,
      reads: all.reduce((sum, { counters }) => sum + counters.read.requests, 0),
      tables: sumOfTables(all.flatMap(({ tables }) => tables ?? [])),
    };
  });
}

function sumOfTables(all: readonly TableStatistics[]): TableStatistics | undefined {
  if (all.length === 0) return undefined;
  const sum = (field: keyof TableStatistics) => all.reduce((total, each) => total + each[field], 0);
  return {
    hits: sum('hits'),
    misses: sum('misses'),
    evictions: sum('evictions'),
    bytes: sum('bytes'),
    limitBytes: sum('limitBytes'),
  };
}
