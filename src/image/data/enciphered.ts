/**
 * Bytes that are stored enciphered, in sectors of 512: what is not whole sectors is read with its
 * sectors, and written by reading, changing and writing them.
 */

import { roundUp } from '../../lib/round-up.ts';
import type { Storage } from '../../storage/storage.ts';
import { type ImageFormat, SECTOR_BYTES, type SectorCipher } from '../format.ts';
import { readPadded } from '../tables/read-padded.ts';
import type { Scratch } from './scratch.ts';

/** Larger writes go piece by piece: enciphering is done in one go, and others want to be served. */
const PIECE_BYTES = 256 * 1024;

/** Where a range of the guest's is stored. */
export interface EncipheredPlace {
  readonly storage: Storage;
  readonly storageOffset: number;
  readonly guestOffset: number;
  readonly cipher: SectorCipher;
}

/** Reads and deciphers `length` bytes; those that are no whole sectors through `scratch`. */
export async function readEnciphered(
  place: EncipheredPlace,
  buffer: Buffer,
  bufferOffset: number,
  length: number,
  scratch: Scratch,
): Promise<void> {
  const { storage, storageOffset, guestOffset, cipher } = place;
  const head = guestOffset % SECTOR_BYTES;
  const bytes = roundUp(head + length, SECTOR_BYTES);
  if (bytes === length) {
    await readPadded(storage, buffer, bufferOffset, length, storageOffset);
    cipher.decrypt(buffer, bufferOffset, length, storageOffset, guestOffset);
    return;
  }
  const sectors = await scratch.take(bytes, buffer);
  try {
    await readPadded(storage, sectors, 0, bytes, storageOffset - head);
    cipher.decrypt(sectors, 0, bytes, storageOffset - head, guestOffset - head);
    sectors.copy(buffer, bufferOffset, head, head + length);
  } finally {
    scratch.give(sectors);
  }
}

/** A write of enciphered sectors that is under way. */
interface Held {
  readonly start: number;
  readonly end: number;
  /** It reads a sector of which it does not write all. */
  readonly isRagged: boolean;
  readonly ended: Promise<void>;
}

/**
 * Writes into enciphered space that is there. A ragged write and any other of the same sector take
 * turns, or one would undo what the other wrote beside it.
 */
export class EncipheredWrites {
  readonly #held = new Set<Held>();
  readonly #scratch: Scratch;

  constructor(scratch: Scratch) {
    this.#scratch = scratch;
  }

  async write(
    place: EncipheredPlace,
    buffer: Buffer,
    bufferOffset: number,
    length: number,
  ): Promise<void> {
    for (let done = 0; done < length; ) {
      const guestOffset = place.guestOffset + done;
      const toBorder = PIECE_BYTES - (guestOffset % SECTOR_BYTES);
      const bytes = Math.min(length - done, toBorder);
      const piece = { ...place, guestOffset, storageOffset: place.storageOffset + done };
      await this.#writePiece(piece, buffer, bufferOffset + done, bytes);
      done += bytes;
    }
  }

  async #writePiece(
    place: EncipheredPlace,
    buffer: Buffer,
    bufferOffset: number,
    length: number,
  ): Promise<void> {
    const head = place.guestOffset % SECTOR_BYTES;
    const bytes = roundUp(head + length, SECTOR_BYTES);
    const start = place.guestOffset - head;
    const isRagged = bytes !== length;
    const release = await this.#hold(start, start + bytes, isRagged);
    let scratch: Buffer | undefined;
    try {
      scratch = await this.#scratch.take(bytes, buffer);
      const { storage, cipher } = place;
      const sectors = { ...place, guestOffset: start, storageOffset: place.storageOffset - head };
      if (isRagged) await this.#readEdges(sectors, scratch, head, length, bytes);
      buffer.copy(scratch, head, bufferOffset, bufferOffset + length);
      cipher.encrypt(scratch, 0, bytes, sectors.storageOffset, start);
      await storage.write(scratch, 0, bytes, sectors.storageOffset);
    } finally {
      if (scratch !== undefined) this.#scratch.give(scratch);
      release();
    }
  }

  /** Waits until no other write is in the way, and is in the way from then on. */
  async #hold(start: number, end: number, isRagged: boolean): Promise<() => void> {
    for (let other = this.#find(start, end, isRagged); other; ) {
      await other.ended;
      other = this.#find(start, end, isRagged);
    }
    let release = () => {};
    const ended = new Promise<void>((resolve) => {
      release = resolve;
    });
    const held: Held = { start, end, isRagged, ended };
    this.#held.add(held);
    return () => {
      this.#held.delete(held);
      release();
    };
  }

  #find(start: number, end: number, isRagged: boolean): Held | undefined {
    for (const other of this.#held) {
      if (other.start >= end || other.end <= start) continue;
      if (isRagged || other.isRagged) return other;
    }
    return undefined;
  }

  /** Reads the first and the last sector into their places, where not all of them is written. */
  async #readEdges(
    place: EncipheredPlace,
    sectors: Buffer,
    head: number,
    length: number,
    bytes: number,
  ): Promise<void> {
    const last = bytes - SECTOR_BYTES;
    const isTailRagged = head + length < bytes;
    const isHeadRagged = head > 0 || (isTailRagged && last === 0);
    if (isHeadRagged) await readEnciphered(place, sectors, 0, SECTOR_BYTES, this.#scratch);
    if (!isTailRagged || last === 0) return;
    const { storageOffset, guestOffset } = place;
    const tail = { ...place, storageOffset: storageOffset + last, guestOffset: guestOffset + last };
    await readEnciphered(tail, sectors, last, SECTOR_BYTES, this.#scratch);
  }
}

/** Whether the disk has enciphered bytes at `offset`: zeros of the file are no zeros of it then. */
export async function isEncipheredAt(format: ImageFormat, offset: number): Promise<boolean> {
  if (offset >= format.virtualSizeBytes) return false;
  const run = await format.map(offset, 1);
  return run.kind === 'data' && run.cipher !== undefined;
}
