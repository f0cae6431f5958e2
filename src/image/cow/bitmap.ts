/**
 * Which blocks of a copy-on-write image are in it: a bit a block, all in memory. On the disk the
 * bitmap changes by sectors of 512 bytes, which a disk writes as a whole or not at all.
 */

import type { ResizableStorage } from '../../storage/storage.ts';

const SECTOR_BYTES = 512;

/** Sectors as they were at one moment, on their way to the disk. */
export interface DirtySectors {
  /** Neighbours joined, in order. */
  readonly runs: readonly { readonly at: number; readonly bytes: Buffer }[];
}

export class BlockBitmap {
  readonly blockCount: number;
  /** Blocks that are in the image. */
  setCount = 0;
  readonly #bits: Buffer;
  readonly #dirty = new Set<number>();

  /** `bits` is the bitmap as it was read, the receiver's own from then on. */
  constructor(bits: Buffer, blockCount: number) {
    this.#bits = bits;
    this.blockCount = blockCount;
    // What lies behind the last block means nothing.
    for (let block = blockCount; block < bits.length * 8; block++) this.#clear(block);
    for (const byte of bits) this.setCount += onesIn(byte);
  }

  has(block: number): boolean {
    return ((this.#bits[block >>> 3]! >>> (block & 7)) & 1) === 1;
  }

  set(block: number): void {
    if (this.has(block)) return;
    this.#bits[block >>> 3]! |= 1 << (block & 7);
    this.setCount++;
    this.#dirty.add(Math.floor(block / (8 * SECTOR_BYTES)));
  }

  /** How many blocks from this one on, at most `countMax`, are as this one is. */
  runFrom(block: number, countMax: number): number {
    const isSet = this.has(block);
    const end = Math.min(this.blockCount, block + countMax);
    const whole = isSet ? 0xff : 0;
    let at = block + 1;
    while (at < end) {
      if ((at & 7) === 0 && at + 8 <= end && this.#bits[at >>> 3] === whole) at += 8;
      else if (this.has(at) === isSet) at++;
      else break;
    }
    return at - block;
  }

  /** Takes a copy of what has changed since the last time; it counts as unchanged from now on. */
  takeDirty(): DirtySectors {
    const runs: { at: number; bytes: Buffer }[] = [];
    const sectors = [...this.#dirty].sort((a, b) => a - b);
    this.#dirty.clear();
    for (let i = 0; i < sectors.length; ) {
      const first = sectors[i]!;
      let count = 1;
      while (sectors[i + count] === first + count) count++;
      const at = first * SECTOR_BYTES;
      runs.push({ at, bytes: Buffer.from(this.#bits.subarray(at, at + count * SECTOR_BYTES)) });
      i += count;
    }
    return { runs };
  }

  /** What was taken could not be written: it is changed still. */
  giveBack({ runs }: DirtySectors): void {
    for (const { at, bytes } of runs) {
      for (let done = 0; done < bytes.length; done += SECTOR_BYTES) {
        this.#dirty.add((at + done) / SECTOR_BYTES);
      }
    }
  }

  #clear(block: number): void {
    this.#bits[block >>> 3]! &= ~(1 << (block & 7));
  }
}

/** Writes what was taken to the bitmap that begins at `bitmapOffset`. */
export async function writeSectors(
  storage: ResizableStorage,
  bitmapOffset: number,
  { runs }: DirtySectors,
): Promise<void> {
  for (const { at, bytes } of runs) await storage.write(bytes, 0, bytes.length, bitmapOffset + at);
}

function onesIn(byte: number): number {
  let ones = 0;
  for (let rest = byte; rest !== 0; rest &= rest - 1) ones++;
  return ones;
}
