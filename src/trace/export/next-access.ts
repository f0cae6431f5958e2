/**
 * Fills in when each object of a trace is asked for next, going backwards over the records on disk.
 * Memory: 32 to 64 bytes for each distinct object, and 1.5 MiB.
 */

import { writeUInt64LE } from '../../lib/uint64.ts';
import { readU32 } from '../binary-format.ts';
import type { OutputFile } from './output-file.ts';

const PIECE_BYTES = 1024 * 1024;
const SLOTS_MIN = 1024;

/** Where records and their fields are. */
export interface NextAccessLayout {
  readonly headerBytes: number;
  readonly recordBytes: number;
  /** u64 object. */
  readonly key: number;
  /** u32 size. */
  readonly size: number;
  /** i64 number of the next request of that object, from 1; -1 for none. */
  readonly next: number;
}

/** The objects of a trace. */
export interface ObjectCounts {
  readonly objects: number;
  /** Sizes of the distinct objects, summed up, bytes. */
  readonly objectBytes: number;
}

/** Where each object was seen last, going backwards; open addressing. */
class LastSeen {
  count = 0;
  #low = new Uint32Array(SLOTS_MIN);
  #high = new Uint32Array(SLOTS_MIN);
  /** The number of the request, from 1; 0 for a free slot. */
  #request = new Float64Array(SLOTS_MIN);

  /** Remembers `request` and answers what was remembered before; 0 if nothing was. */
  replace(low: number, high: number, request: number): number {
    const slot = this.#find(low, high);
    const before = this.#request[slot]!;
    this.#request[slot] = request;
    if (before === 0) {
      this.#low[slot] = low;
      this.#high[slot] = high;
      this.count++;
      if (this.count * 2 > this.#request.length) this.#grow();
    }
    return before;
  }

  #find(low: number, high: number): number {
    const mask = this.#request.length - 1;
    const mixed = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
    let slot = (mixed ^ (mixed >>> 15)) & mask;
    while (this.#request[slot] !== 0) {
      if (this.#low[slot] === low && this.#high[slot] === high) break;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  #grow(): void {
    const [low, high, request] = [this.#low, this.#high, this.#request];
    const slots = request.length * 2;
    this.#low = new Uint32Array(slots);
    this.#high = new Uint32Array(slots);
    this.#request = new Float64Array(slots);
    for (let old = 0; old < request.length; old++) {
      if (request[old] === 0) continue;
      const slot = this.#find(low[old]!, high[old]!);
      this.#low[slot] = low[old]!;
      this.#high[slot] = high[old]!;
      this.#request[slot] = request[old]!;
    }
  }
}

/** Does so in `file`, which has `count` records. `onProgress` is told how many are done. */
export async function fillNextAccess(
  file: OutputFile,
  count: number,
  layout: NextAccessLayout,
  onProgress: (records: number) => void,
): Promise<ObjectCounts> {
  const { headerBytes, recordBytes } = layout;
  const seen = new LastSeen();
  const perPiece = Math.floor(PIECE_BYTES / recordBytes);
  const piece = Buffer.alloc(perPiece * recordBytes);
  let objectBytes = 0;
  for (let end = count; end > 0; ) {
    const start = Math.max(0, end - perPiece);
    const bytes = piece.subarray(0, (end - start) * recordBytes);
    const position = headerBytes + start * recordBytes;
    await file.read(bytes, position);
    for (let record = end - 1; record >= start; record--) {
      const at = (record - start) * recordBytes;
      const key = at + layout.key;
      const next = seen.replace(readU32(bytes, key), readU32(bytes, key + 4), record + 1);
      if (next === 0) objectBytes += readU32(bytes, at + layout.size);
      writeNext(bytes, next, at + layout.next);
    }
    await file.write(bytes, position);
    end = start;
    onProgress(count - start);
  }
  return { objects: seen.count, objectBytes };
}

/** The number of the next access from 1, as 64 bits with a sign: -1 where there is none. */
function writeNext(bytes: Buffer, next: number, at: number): void {
  if (next > 0) {
    writeUInt64LE(bytes, next, at);
  } else {
    bytes.writeInt32LE(-1, at);
    bytes.writeInt32LE(-1, at + 4);
  }
}
