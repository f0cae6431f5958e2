/** The images that others are based on: one cache, and one set of reads under way, for all of them. */

import type { BlockImage } from '../image/image.ts';
import type { Buffers } from '../lib/buffer-pool.ts';
import type { Cleancache } from '../tmem/cleancache.ts';
import { InFlight } from './in-flight.ts';
import type { BaseImage } from './pages/chain-pages.ts';
import { ExportPages } from './pages/pages.ts';
import { PageReads } from './reads/page-reads.ts';

export interface BaseImagesOptions {
  readonly buffers: Buffers;
  /** The cache of an image's pages, the same for every image of one identity. */
  cacheOf(image: BlockImage): Cleancache;
}

interface KnownBase {
  readonly base: BaseImage;
  readonly image: BlockImage;
  userCount: number;
}

export class BaseImages {
  readonly #options: BaseImagesOptions;
  /** By identity: the pages, the image that they are read from, and how many disks are on it. */
  readonly #known = new Map<string, KnownBase>();

  constructor(options: BaseImagesOptions) {
    this.#options = options;
  }

  /** The backing image of `image`, its backing image, and so on; they must not change. */
  below(image: BlockImage): BaseImage[] {
    const bases: BaseImage[] = [];
    for (let base = image.backing; base !== undefined; base = base.backing) {
      bases.push(this.#baseOf(base));
    }
    return bases;
  }

  #baseOf(image: BlockImage): BaseImage {
    const known = this.#known.get(image.identity);
    if (known !== undefined) {
      known.userCount++;
      return known.base;
    }
    const { buffers } = this.#options;
    const cache = this.#options.cacheOf(image);
    const inFlight = new InFlight(cache.pageBytes);
    const reads = new PageReads({ image, pages: new ExportPages(cache), inFlight, buffers });
    const base = { cache, reads };
    this.#known.set(image.identity, { base, image, userCount: 1 });
    return base;
  }

  /** Whether other disks read through an image that is below this one, and was opened for it. */
  hasOtherUsers(image: BlockImage): boolean {
    for (let below = image.backing; below !== undefined; below = below.backing) {
      const known = this.#known.get(below.identity);
      if (known?.image === below && known.userCount > 1) return true;
    }
    return false;
  }

  /** All of them, and the caches of their pages. */
  get all(): readonly { readonly image: BlockImage; readonly cache: Cleancache }[] {
    return [...this.#known.values()].map(({ base, image }) => ({ image, cache: base.cache }));
  }

  /** The pool of the pages of an image that is below another. */
  poolIdOf(image: BlockImage): number | undefined {
    return this.#known.get(image.identity)?.base.cache.pool.id;
  }
}
