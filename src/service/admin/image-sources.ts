/** The images of a service as metrics see them: each once, however many exports are based on it. */

import type { BaseImages } from '../../export/base-images.ts';
import type { Export } from '../../export/export.ts';
import type { BlockImage } from '../../image/image.ts';
import type { TableStatistics } from '../../image/tables/table-cache.ts';
import type { ImageSource } from '../../metrics/sources.ts';

/** What is used of exports and of the images that they are based on. */
type Based = readonly {
  readonly image: BlockImage;
  readonly cache: Pick<Export['cache'], 'pool'>;
}[];
type Bases = Pick<BaseImages, 'poolIdOf'> & { readonly all: Based };

/** Images of one name: several exports may have opened it, each for itself. */
interface Gathered {
  readonly poolId: number;
  readonly images: Set<BlockImage>;
}

/** What was counted under one name, also by images that were let go of: counters never go back. */
interface Counted {
  readonly reads: Set<BlockImage['counters']['read']>;
  readonly tables: Set<Readonly<TableStatistics>>;
}

export class ImageSources {
  readonly #exports: Based;
  readonly #bases: Bases;
  readonly #countedByName = new Map<string, Counted>();

  constructor(exports: Based, bases: Bases) {
    this.#exports = exports;
    this.#bases = bases;
  }

  /** By name, those that are in use now. */
  read(): readonly ImageSource[] {
    return [...this.#gather()].map(([name, { poolId, images }]) => {
      const counted = this.#countedOf(name);
      for (const { counters, tables } of images) {
        counted.reads.add(counters.read);
        if (tables !== undefined) counted.tables.add(tables);
      }
      const [first] = images;
      return {
        name,
        formatName: first?.formatName ?? 'raw',
        poolId,
        reads: sumOf(counted.reads, 'requests'),
        tables: statisticsOf(counted.tables, images),
      };
    });
  }

  #gather(): ReadonlyMap<string, Gathered> {
    const gathered = new Map<string, Gathered>();
    const gather = (image: BlockImage, poolId: number): void => {
      const known = gathered.get(image.name);
      if (known === undefined) gathered.set(image.name, { poolId, images: new Set([image]) });
      else known.images.add(image);
    };
    for (const { image, cache } of this.#exports) {
      gather(image, cache.pool.id);
      for (let base = image.backing; base !== undefined; base = base.backing) {
        gather(base, this.#bases.poolIdOf(base) ?? cache.pool.id);
      }
    }
    for (const { image, cache } of this.#bases.all) gather(image, cache.pool.id);
    return gathered;
  }

  #countedOf(name: string): Counted {
    const counted = this.#countedByName.get(name) ?? { reads: new Set(), tables: new Set() };
    this.#countedByName.set(name, counted);
    return counted;
  }
}

/** Undefined where none of them has tables. */
function statisticsOf(
  counted: Counted['tables'],
  images: ReadonlySet<BlockImage>,
): TableStatistics | undefined {
  if (counted.size === 0) return undefined;
  const held = [...images].flatMap(({ tables }) => tables ?? []);
  return {
    hits: sumOf(counted, 'hits'),
    misses: sumOf(counted, 'misses'),
    evictions: sumOf(counted, 'evictions'),
    bytes: sumOf(held, 'bytes'),
    limitBytes: sumOf(held, 'limitBytes'),
  };
}

function sumOf<Field extends string>(
  all: Iterable<Readonly<Record<Field, number>>>,
  field: Field,
): number {
  let sum = 0;
  for (const each of all) sum += each[field];
  return sum;
}
