/** Buffers for reading records, made once: whoever finds none free waits for one. */

import { BLOCK_BYTES } from './appender.ts';

/** Reads of the file under way at most: as many as the system calls that run at a time. */
const SLOTS = 16;
/** Neighbouring records are read together, up to about so many bytes and pages. */
export const READ_BYTES = 64 * 1024;
export const READ_PAGES_MAX = 64;

/** A buffer for neighbouring records, and one for a page of which only a part is wanted. */
export interface ReadSlot {
  readonly bytes: Buffer;
  readonly page: Buffer;
  /** Where the records of the pages that are read begin, and their spans, when the read began. */
  location: number;
  readonly spans: Uint16Array;
  count: number;
}

/** Bytes of memory that a slot takes. */
function slotBytes(recordBytesMax: number): number {
  const records = Math.max(READ_BYTES, recordBytesMax);
  // A record may begin and end inside a block, and whole blocks are read.
  return (Math.ceil(records / BLOCK_BYTES) + 2) * BLOCK_BYTES;
}

export class ReadSlots {
  readonly #free: ReadSlot[] = [];
  readonly #waiting: ((slot: ReadSlot) => void)[] = [];

  /** What the memory of all slots must have, bytes. */
  static memoryBytes(recordBytesMax: number, pageBytes: number): number {
    return SLOTS * (slotBytes(recordBytesMax) + pageBytes);
  }

  /** `memory` has `memoryBytes`, aligned to `BLOCK_BYTES`. */
  constructor(memory: Buffer, recordBytesMax: number, pageBytes: number) {
    const bytes = slotBytes(recordBytesMax);
    for (let index = 0; index < SLOTS; index++) {
      const at = index * (bytes + pageBytes);
      this.#free.push({
        bytes: memory.subarray(at, at + bytes),
        page: memory.subarray(at + bytes, at + bytes + pageBytes),
        location: 0,
        spans: new Uint16Array(READ_PAGES_MAX),
        count: 0,
      });
    }
  }

  /** A slot, if one is free now. */
  take(): ReadSlot | undefined {
    return this.#waiting.length === 0 ? this.#free.pop() : undefined;
  }

  /** A slot, in the order of asking. */
  wait(): Promise<ReadSlot> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  give(slot: ReadSlot): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(slot);
    else next(slot);
  }
}
