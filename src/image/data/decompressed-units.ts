/**
 * What of an image was decompressed of late: a guest reads a unit in many small pieces, and each
 * would decompress all of it. A unit is decompressed once for all who want it meanwhile.
 */

import { LRUCache } from 'lru-cache';
import type { CompressedUnit } from '../format.ts';
import { readPadded } from '../tables/read-padded.ts';
import { ByteBudget } from './byte-budget.ts';

/** A unit on its way. */
interface Work {
  readonly unit: CompressedUnit;
  readonly done: Promise<Buffer>;
}

interface Kept {
  readonly unit: CompressedUnit;
  readonly bytes: Buffer;
}

/** By where a unit begins in the guest's disk. */
export class DecompressedUnits {
  readonly #kept: LRUCache<number, Kept>;
  readonly #work = new Map<number, Work>();
  readonly #underWay: ByteBudget;

  /** Keeps at most `bytesMax`, no unit that is larger, and has as much at most under way. */
  constructor(bytesMax: number) {
    this.#kept = new LRUCache<number, Kept>({
      maxSize: Math.max(1, bytesMax),
      sizeCalculation: ({ bytes }) => Math.max(1, bytes.length),
    });
    this.#underWay = new ByteBudget(bytesMax);
  }

  /**
   * The bytes of a unit that the format has mapped in this very turn of the event loop, so that no
   * change can have come between; not to be changed.
   */
  get(unit: CompressedUnit): Buffer | Promise<Buffer> {
    const kept = this.#kept.get(unit.guestOffset);
    if (kept !== undefined && isSame(kept.unit, unit)) return kept.bytes;
    const running = this.#work.get(unit.guestOffset);
    if (running !== undefined && isSame(running.unit, unit)) return running.done;
    const done = this.#decompressAndKeep(unit);
    this.#work.set(unit.guestOffset, { unit, done });
    return done;
  }

  /** The range has changed: what is known of it, or on its way, is of the past. */
  drop(offset: number, length: number): void {
    if (this.#kept.size > 0) {
      for (const { unit } of [...this.#kept.values()]) {
        if (overlaps(unit, offset, length)) this.#kept.delete(unit.guestOffset);
      }
    }
    for (const { unit } of this.#work.values()) {
      if (overlaps(unit, offset, length)) this.#work.delete(unit.guestOffset);
    }
  }

  async #decompressAndKeep(unit: CompressedUnit): Promise<Buffer> {
    const isCurrent = () => this.#work.get(unit.guestOffset)?.unit === unit;
    try {
      const bytes = await this.decompress(unit);
      if (isCurrent()) this.#kept.set(unit.guestOffset, { unit, bytes });
      return bytes;
    } finally {
      if (isCurrent()) this.#work.delete(unit.guestOffset);
    }
  }

  /** Reads and decompresses a unit, for one reader alone. */
  async decompress(unit: CompressedUnit): Promise<Buffer> {
    const { storage, storageOffset, storedBytesMax, unitBytes } = unit;
    const wait = this.#underWay.take(storedBytesMax + unitBytes);
    if (wait !== undefined) await wait;
    try {
      const src = Buffer.allocUnsafeSlow(storedBytesMax);
      await readPadded(storage, src, 0, src.length, storageOffset);
      const dst = Buffer.allocUnsafeSlow(unitBytes);
      await unit.decompress(src, dst);
      return dst;
    } finally {
      this.#underWay.give(storedBytesMax + unitBytes);
    }
  }
}

function isSame(a: CompressedUnit, b: CompressedUnit): boolean {
  return a.storageOffset === b.storageOffset && a.storage === b.storage;
}

function overlaps({ guestOffset, unitBytes }: CompressedUnit, offset: number, length: number) {
  return guestOffset < offset + length && guestOffset + unitBytes > offset;
}
