/**
 * The real stack as a cache of a stream: pages of bytes, compressed, allocated and evicted as in a
 * service, with nothing left out but the network and the disk.
 */
import { Cleancache } from '../../tmem/cleancache.ts';
import { isRefused, type Layer, MISS } from '../../tmem/layer.ts';
import type { Tmem } from '../../tmem/tmem.ts';
import type { CountingCache } from './measure.ts';
import type { PageContents } from './page-contents.ts';
import type { PageStream } from './page-stream.ts';
import { bitAt, dropBitsOf } from './write-bits.ts';

export class FullCache implements CountingCache {
  hits = 0;
  misses = 0;
  coldMisses = 0;
  invalidations = 0;
  /** Pages that no layer took. */
  refusals = 0;
  /** The most pages that the layers held at any time; one that lies in two of them counts twice. */
  pagesHeldMax = 0;
  readonly ghostHits = 0;
  readonly hitsOfVolume: Float64Array;
  readonly missesOfVolume: Float64Array;
  private readonly stream: PageStream;
  private readonly tmem: Tmem;
  private readonly contents: PageContents;
  private readonly caches: readonly Cleancache[];
  private readonly page: Buffer;
  private seenPages = 0;

  /** A private pool for each volume of the stream, on a stack that is empty. */
  constructor(
    stream: PageStream,
    tmem: Tmem,
    pageBytes: number,
    contents: PageContents,
    createCache: (volume: number) => Cleancache = () => new Cleancache(tmem, pageBytes),
  ) {
    this.stream = stream;
    this.tmem = tmem;
    this.contents = contents;
    this.caches = stream.volumes.map((_, volume) => createCache(volume));
    this.page = Buffer.alloc(pageBytes);
    this.hitsOfVolume = new Float64Array(stream.volumes.length);
    this.missesOfVolume = new Float64Array(stream.volumes.length);
  }

  /** Pages that left the whole stack: those that the last layer gave up. */
  get evictions(): number {
    const last = this.tmem.layers.at(-1)?.statistics;
    if (last === undefined) return 0;
    return last.evictedForCapacity + last.evictedForShrink + last.evictedForFilledCap;
  }

  run(from: number, to: number): void {
    const { ids, numberOfPage, volumeOfPage } = this.stream;
    const drops = dropBitsOf(this.stream);
    for (let i = from; i < to; i++) {
      const id = ids[i]!;
      const volume = volumeOfPage[id]!;
      const cache = this.caches[volume]!;
      const number = numberOfPage[id]!;
      if (drops !== undefined && bitAt(drops, i)) {
        if (cache.has(number)) this.invalidations++;
        cache.flush(number, 1);
      } else if (cache.get(number, this.page, 0) !== MISS) {
        this.hits++;
        this.hitsOfVolume[volume]!++;
      } else {
        this.missesOfVolume[volume]!++;
        this.miss(id, cache, number);
      }
    }
  }

  private miss(id: number, cache: Cleancache, number: number): void {
    this.misses++;
    if (id === this.seenPages) {
      this.coldMisses++;
      this.seenPages++;
    }
    this.contents.fill(id, this.page);
    if (isRefused(cache.put(number, this.page, 0))) this.refusals++;
    let held = 0;
    for (const layer of this.tmem.layers) held += pagesOf(layer);
    if (held > this.pagesHeldMax) this.pagesHeldMax = held;
  }
}

/** Pages that a layer holds, in whatever way. */
export function pagesOf(layer: Layer): number {
  const { rawPages, compressedPages, filledPages } = layer.usage();
  return rawPages + compressedPages + filledPages;
}
