/**
 * A format with its tables in memory, to test what all formats share: units that are holes, zeros,
 * data or compressed, and space that is used again as soon as nobody can know of it any more.
 */

import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type {
  CompressedUnit,
  Mapping,
  SectorCipher,
  WritableFormat,
  WriteTarget,
} from '../../src/image/format.ts';
import { RequestEpochs } from '../../src/image/tables/request-epochs.ts';
import type { Storage } from '../../src/storage/storage.ts';

export interface ToyOptions {
  readonly storage: Storage;
  readonly sizeBytes: number;
  readonly unitBytes: number;
  /** Answers with promises, as if tables had to be read. */
  readonly isAsync?: boolean;
  readonly cipher?: SectorCipher;
  /** Discarding must not reveal what is below. */
  readonly hasBacking?: boolean;
  /** `zero` says that it takes writing. */
  readonly cannotZero?: boolean;
}

type Unit =
  | { readonly kind: 'hole' | 'zero' }
  | { readonly kind: 'data'; readonly at: number }
  | { readonly kind: 'compressed'; readonly at: number; readonly bytes: number };

const HOLE: Unit = { kind: 'hole' };

export class ToyFormat implements WritableFormat {
  readonly formatName = 'qcow2';
  readonly isWritable = true;
  readonly compression = 'deflate';
  readonly epochs = new RequestEpochs();
  readonly storages: readonly Storage[];
  readonly unitBytes: number;
  virtualSizeBytes: number;
  /** Calls that a test may look at. */
  decompressions = 0;
  aborted = 0;
  readonly units = new Map<number, Unit>();
  readonly #options: ToyOptions;
  readonly #changing = new Map<number, Promise<void>>();
  readonly #free: { at: number; stamp: number }[] = [];
  #end = 0;

  constructor(options: ToyOptions) {
    this.#options = options;
    this.storages = [options.storage];
    this.unitBytes = options.unitBytes;
    this.virtualSizeBytes = options.sizeBytes;
  }

  map(offset: number, length: number): Mapping | Promise<Mapping> {
    if (this.#options.isAsync !== true) return this.#map(offset, length);
    return Promise.resolve().then(() => this.#map(offset, length));
  }

  async allocate(offset: number, length: number): Promise<WriteTarget> {
    const { unitBytes } = this;
    const { storage, cipher } = this.#options;
    const index = Math.floor(offset / unitBytes);
    const headBytes = offset % unitBytes;
    const bytes = Math.min(length, unitBytes - headBytes);
    const release = await this.#change(index);
    const unit = this.#unit(index);
    if (unit.kind === 'data') {
      release();
      const storageOffset = unit.at + headBytes;
      return { length: bytes, storage, storageOffset, cipher, headBytes: 0, tailBytes: 0 };
    }
    const at = this.#take();
    return {
      ...{ length: bytes, storage, storageOffset: at, cipher },
      ...{ headBytes, tailBytes: unitBytes - headBytes - bytes },
      commit: () => {
        this.#set(index, { kind: 'data', at });
        release();
      },
      abort: () => {
        this.aborted++;
        this.#give(at);
        release();
      },
    };
  }

  async zero(offset: number, length: number, mayDiscard: boolean): Promise<boolean> {
    if (this.#options.cannotZero === true) return false;
    const kind = mayDiscard && this.#options.hasBacking !== true ? 'hole' : 'zero';
    await this.#setAll(offset, length, { kind });
    return true;
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#setAll(
      offset,
      length,
      this.#options.hasBacking === true ? { kind: 'zero' } : HOLE,
    );
  }

  async writeCompressed(offset: number, unit: Buffer): Promise<void> {
    const index = offset / this.unitBytes;
    const packed = deflateRawSync(unit);
    const release = await this.#change(index);
    const at = this.#take();
    try {
      await this.#options.storage.write(packed, 0, packed.length, at);
      this.#set(index, { kind: 'compressed', at, bytes: packed.length });
    } catch (cause) {
      this.#give(at);
      throw cause;
    } finally {
      release();
    }
  }

  sync(): Promise<void> {
    return this.#options.storage.sync();
  }

  async resize(sizeBytes: number): Promise<void> {
    this.virtualSizeBytes = sizeBytes;
  }

  #map(offset: number, length: number): Mapping {
    const { unitBytes } = this;
    const { storage, cipher } = this.#options;
    const first = Math.floor(offset / unitBytes);
    const inUnit = offset % unitBytes;
    const unit = this.#unit(first);
    const run = unitBytes - inUnit;
    if (unit.kind === 'compressed')
      return { kind: unit.kind, length: run, unit: this.#packed(first) };
    if (unit.kind === 'data') {
      return { kind: 'data', length: run, storage, storageOffset: unit.at + inUnit, cipher };
    }
    let end = first + 1;
    while (end * unitBytes < offset + length && this.#unit(end).kind === unit.kind) end++;
    return { kind: unit.kind, length: end * unitBytes - offset };
  }

  #packed(index: number): CompressedUnit {
    const unit = this.#unit(index);
    if (unit.kind !== 'compressed') throw new Error('not compressed');
    return {
      guestOffset: index * this.unitBytes,
      unitBytes: this.unitBytes,
      storage: this.#options.storage,
      storageOffset: unit.at,
      storedBytesMax: unit.bytes + 100,
      decompress: async (src, dst) => {
        this.decompressions++;
        inflateRawSync(src).copy(dst);
      },
    };
  }

  #unit(index: number): Unit {
    return this.units.get(index) ?? HOLE;
  }

  /** Waits until nobody else changes the unit; the answer ends the turn. */
  async #change(index: number): Promise<() => void> {
    while (this.#changing.has(index)) await this.#changing.get(index);
    let release = () => {};
    const ended = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#changing.set(index, ended);
    return () => {
      this.#changing.delete(index);
      release();
    };
  }

  async #setAll(offset: number, length: number, unit: Unit): Promise<void> {
    const { unitBytes } = this;
    if (offset % unitBytes !== 0) throw new Error(`${offset} is no unit`);
    const end = offset + length;
    if (end % unitBytes !== 0 && end !== this.virtualSizeBytes)
      throw new Error(`${end} is no unit`);
    for (let index = offset / unitBytes; index * unitBytes < end; index++) {
      const release = await this.#change(index);
      this.#set(index, unit);
      release();
    }
  }

  #set(index: number, unit: Unit): void {
    const old = this.#unit(index);
    this.units.set(index, unit);
    if ('at' in old) this.#give(old.at);
  }

  #take(): number {
    const place = this.#free.findIndex(({ stamp }) => this.epochs.isPast(stamp));
    const found = this.#free.splice(place, place < 0 ? 0 : 1)[0];
    if (found !== undefined) return found.at;
    const at = this.#end;
    this.#end += 2 * this.unitBytes; // room for what compression makes longer
    return at;
  }

  #give(at: number): void {
    this.#free.push({ at, stamp: this.epochs.advance() });
  }
}

/** Enciphers so that a sector that lands in the wrong place shows; whole sectors only. */
export const toyCipher: SectorCipher = {
  encrypt: apply,
  decrypt: apply,
};

function apply(
  buffer: Buffer,
  bufferOffset: number,
  length: number,
  storageOffset: number,
  guestOffset: number,
): void {
  for (const value of [length, storageOffset, guestOffset]) {
    if (value % 512 !== 0) throw new Error(`toy cipher: ${value} is not of whole sectors`);
  }
  for (let i = 0; i < length; i++) {
    const sector =
      (guestOffset + i - (i % 512)) / 512 + 3 * ((storageOffset + i - (i % 512)) / 512);
    buffer[bufferOffset + i] = buffer[bufferOffset + i]! ^ (sector * 7 + i * 13 + 5) ^ 0xa5;
  }
}
