/** Disks on one chain of images, over storages whose requests go on a step at a time. */

import { BaseImages } from '../../../src/export/base-images.ts';
import { Export } from '../../../src/export/export.ts';
import { PageOwners } from '../../../src/export/pages/page-owners.ts';
import { BlockImage } from '../../../src/image/image.ts';
import { rawImage } from '../../../src/image/raw.ts';
import { loadCodec } from '../../../src/layers/codec.ts';
import { Hot } from '../../../src/layers/hot.ts';
import { Zcache } from '../../../src/layers/zcache.ts';
import { BufferPool } from '../../../src/lib/buffer-pool.ts';
import { policyFactoryFor } from '../../../src/policy/policies.ts';
import type { Storage } from '../../../src/storage/storage.ts';
import { Cleancache } from '../../../src/tmem/cleancache.ts';
import { Frontswap } from '../../../src/tmem/frontswap.ts';
import { Tmem } from '../../../src/tmem/tmem.ts';
import { ToyFormat } from '../../image/toy-format.ts';
import { KIB, MIB } from '../fixture.ts';
import { SteppedStorage } from '../stepped-storage.ts';
import { TurnedClock } from '../turned-clock.ts';

export const PAGE = 4 * KIB;
export const SECTOR = 512;
/** Of the disks, of the image below them, and of the one at the bottom. */
export const SIZE = 12 * PAGE + 3 * SECTOR;
const MIDDLE_SIZE = 9 * PAGE + 5 * SECTOR;
const BOTTOM_SIZE = 7 * PAGE + SECTOR;

export type ChainMode = 'writethrough' | 'writearound' | 'writeback';

export interface ChainOptions {
  readonly modes: readonly ChainMode[];
  /** Of the images that have units. */
  readonly unitBytes: number;
  /** Units of the image in the middle that it has itself, and those that it has as zeros. */
  readonly middleData: readonly number[];
  readonly middleZeros: readonly number[];
  /** Pages of a piece of the table of owners, and how many pieces there may be. */
  readonly piecePages: number;
  readonly pieceCount: number;
  readonly limitPages: number;
  readonly mayAllocate: () => boolean;
  /** Whether tables have to be waited for, as when they are not in memory; default they have. */
  readonly isAsync?: boolean;
}

/** A format that can stand alone. */
class LooseToy extends ToyFormat {
  async dropBacking(): Promise<void> {}
}

/** A storage that is opened once more: closing it closes nothing for others. */
function openAgain(storage: SteppedStorage): Storage & { isClosed: boolean } {
  const opened = {
    isClosed: false,
    ...{ name: storage.name, isReadOnly: true, alignmentBytes: 1, supports: storage.supports },
    sizeBytes: storage.sizeBytes,
    read: async (buffer: Buffer, at: number, length: number, offset: number) => {
      if (opened.isClosed) throw new Error('read from a base that was let go of');
      await storage.read(buffer, at, length, offset);
      if (opened.isClosed) throw new Error('a base was let go of under a read');
    },
    write: () => Promise.reject(new Error('a base is written')),
    discard: () => Promise.reject(new Error('a base is discarded')),
    writeZeroes: () => Promise.reject(new Error('a base is zeroed')),
    sync: async () => undefined,
    extent: async (_offset: number, length: number) => ({ length, isHole: false }),
    close: async () => {
      opened.isClosed = true;
    },
  };
  return opened;
}

export interface ChainDisk {
  readonly target: Export;
  readonly format: ToyFormat;
  readonly storage: SteppedStorage;
  readonly buffers: BufferPool;
}

export class ChainWorld {
  readonly disks: ChainDisk[];
  readonly clock = new TurnedClock();
  readonly tmem: Tmem;
  readonly baseImages: BaseImages;
  readonly middle: SteppedStorage;
  readonly bottom: SteppedStorage;
  readonly #middleUnits = new Map<number, number | 'zero'>();
  readonly #options: ChainOptions;

  constructor(options: ChainOptions) {
    this.#options = options;
    const { unitBytes, mayAllocate, modes, middleData, middleZeros, isAsync = true } = options;
    const unitCount = Math.ceil(MIDDLE_SIZE / unitBytes);
    for (const unit of middleZeros) this.#middleUnits.set(unit % unitCount, 'zero');
    for (const unit of middleData) this.#middleUnits.set(unit % unitCount, 2 * unit * unitBytes);
    this.middle = new SteppedStorage(numbered(2 * 64 * 8192, 1_000_000));
    this.bottom = new SteppedStorage(numbered(BOTTOM_SIZE, 2_000_000));
    const policy = policyFactoryFor('s3fifo-cw');
    const common = { pageBytesMax: PAGE, policy, mayAllocate, limitBytes: 4 * MIB };
    const zcache = new Zcache({ ...common, codec: loadCodec() });
    const hot = new Hot({ ...common, next: zcache });
    this.tmem = new Tmem([hot, zcache]);
    const buffers = new BufferPool(4 * MIB, PAGE);
    const caches = new Map<string, Cleancache>();
    const cacheOf = (image: BlockImage): Cleancache => {
      const cache = caches.get(image.identity) ?? new Cleancache(this.tmem, PAGE, hot);
      caches.set(image.identity, cache);
      return cache;
    };
    this.baseImages = new BaseImages({ buffers, cacheOf });
    this.disks = modes.map((mode, i) => {
      const storage = new SteppedStorage(Buffer.alloc(128 * 8192));
      const sizes = { sizeBytes: SIZE, unitBytes, isAsync, hasBacking: true };
      const format = new LooseToy({ storage, ...sizes });
      const name = `disk${i}`;
      const backing = this.#openMiddle();
      const image = new BlockImage({ ...named(name), format, backing });
      const writeBack = {
        frontswap: new Frontswap(this.tmem, PAGE, hot),
        limitPages: options.limitPages,
        buffers: new BufferPool(1, PAGE),
        tuning: { ageMsMax: 5000, highFraction: 0.75, lowFraction: 0.5, closesGaps: true },
        onFailure: () => undefined,
        clock: this.clock,
      };
      const target = new Export({
        ...{ name, image, mode, buffers, cache: cacheOf(image) },
        bases: this.baseImages.below(image),
        owners: new PageOwners(options.pieceCount * options.piecePages, options.piecePages),
        writeBack: mode === 'writeback' ? writeBack : undefined,
      });
      return { target, format, storage, buffers };
    });
  }

  get storages(): SteppedStorage[] {
    return [...this.disks.map(({ storage }) => storage), this.middle, this.bottom];
  }

  /** What the images hold of a page, without asking them. */
  peek({ format, storage }: ChainDisk, page: number): Buffer {
    const content = Buffer.alloc(PAGE);
    const { unitBytes } = this.#options;
    for (let at = 0; at < PAGE && page * PAGE + at < SIZE; at += SECTOR) {
      const offset = page * PAGE + at;
      const unit = format.units.get(Math.floor(offset / unitBytes));
      if (unit === undefined || unit.kind === 'hole') this.#peekMiddle(content, at, offset);
      else if (unit.kind === 'data') {
        const from = unit.at + (offset % unitBytes);
        storage.disk.copy(content, at, from, from + SECTOR);
      }
    }
    return content;
  }

  #peekMiddle(content: Buffer, at: number, offset: number): void {
    if (offset >= MIDDLE_SIZE) return;
    const { unitBytes } = this.#options;
    const unit = this.#middleUnits.get(Math.floor(offset / unitBytes));
    if (unit === 'zero') return;
    if (unit !== undefined) {
      const from = unit + (offset % unitBytes);
      this.middle.disk.copy(content, at, from, from + SECTOR);
    } else if (offset < BOTTOM_SIZE) {
      this.bottom.disk.copy(content, at, offset, offset + SECTOR);
    }
  }

  /** As every disk opens the images below it for itself. */
  #openMiddle(): BlockImage {
    const { unitBytes, isAsync = true } = this.#options;
    const options = { storage: openAgain(this.middle), sizeBytes: MIDDLE_SIZE, unitBytes };
    const format = new ToyFormat({ ...options, isAsync, hasBacking: true });
    for (const [unit, at] of this.#middleUnits) {
      format.units.set(unit, at === 'zero' ? { kind: 'zero' } : { kind: 'data', at });
    }
    const backing = rawImage(openAgain(this.bottom), 'bottom');
    return new BlockImage({ ...named('middle'), format, backing });
  }
}

function named(name: string) {
  return { name, identity: name, medium: name };
}

/** Sectors that each hold a number of their own. */
function numbered(bytes: number, first: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  for (let sector = 0; sector < bytes / SECTOR; sector++) fill(buffer, sector, first + sector);
  return buffer;
}

/** Makes a sector of `to` that number, over and over. */
export function fill(to: Buffer, sector: number, value: number): void {
  for (let at = sector * SECTOR; at < (sector + 1) * SECTOR; at += 4) to.writeUInt32BE(value, at);
}

export function valueIn(from: Buffer, sector: number): number {
  const value = from.readUInt32BE(sector * SECTOR);
  if (from.readUInt32BE((sector + 1) * SECTOR - 4) !== value) throw new Error('half a sector');
  return value;
}
