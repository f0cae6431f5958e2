/**
 * The real stack as the compressed part of swap devices: what is written stays in memory until it
 * is written again or dropped, or is refused and lies on the disk. A hit is a read that needs none.
 */
import { Frontswap } from '../../tmem/frontswap.ts';
import { isRefused, MISS } from '../../tmem/layer.ts';
import type { Tmem } from '../../tmem/tmem.ts';
import type { CountingCache } from './measure.ts';
import type { PageContents } from './page-contents.ts';
import type { PageStream } from './page-stream.ts';
import { bitAt } from './write-bits.ts';

export class SwapCache implements CountingCache {
  hits = 0;
  misses = 0;
  coldMisses = 0;
  /** Writes that no layer took. */
  refusals = 0;
  readonly evictions = 0;
  readonly ghostHits = 0;
  readonly invalidations = 0;
  readonly hitsOfVolume: Float64Array;
  readonly missesOfVolume: Float64Array;
  private readonly stream: PageStream;
  private readonly contents: PageContents;
  private readonly devices: readonly Frontswap[];
  private readonly page: Buffer;
  private seenPages = 0;

  /** A private pool for each volume of the stream, on a stack that is empty. */
  constructor(stream: PageStream, tmem: Tmem, pageBytes: number, contents: PageContents) {
    this.stream = stream;
    this.contents = contents;
    this.devices = stream.volumes.map(() => new Frontswap(tmem, pageBytes));
    this.page = Buffer.alloc(pageBytes);
    this.hitsOfVolume = new Float64Array(stream.volumes.length);
    this.missesOfVolume = new Float64Array(stream.volumes.length);
  }

  run(from: number, to: number): void {
    const { ids, numberOfPage, volumeOfPage, writeBits } = this.stream;
    for (let i = from; i < to; i++) {
      const id = ids[i]!;
      const volume = volumeOfPage[id]!;
      const device = this.devices[volume]!;
      const number = numberOfPage[id]!;
      const isFirst = id === this.seenPages;
      if (isFirst) this.seenPages++;
      const isWrite = writeBits !== undefined && bitAt(writeBits, i);
      if (isWrite) {
        this.contents.fill(id, this.page);
        if (isRefused(device.put(number, this.page, 0))) this.refusals++;
      } else if (device.get(number, this.page, 0) !== MISS) {
        this.hits++;
        this.hitsOfVolume[volume]!++;
      } else {
        this.misses++;
        this.missesOfVolume[volume]!++;
        if (isFirst) this.coldMisses++;
      }
    }
  }
}
