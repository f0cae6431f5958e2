/** What readers of binary formats share: records of one size, and numbers of 64 bits as doubles. */

import { TmemError } from '../lib/errors.ts';
import {
  countMalformed,
  type FileTally,
  isBeyondReach,
  type ParserContext,
  type RecordParser,
} from './format.ts';
import type { RequestBatch } from './request-batch.ts';

const TWO_32 = 2 ** 32;
const TWO_21 = 2 ** 21;

/** A little-endian number of 64 bits; more than 2^53 is not exact. */
export function readU64(bytes: Buffer, at: number): number {
  return readU32(bytes, at + 4) * TWO_32 + readU32(bytes, at);
}

/** A little-endian number of 32 bits. */
export function readU32(bytes: Buffer, at: number): number {
  return (
    (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
  );
}

/** A little-endian number of 16 bits. */
export function readU16(bytes: Buffer, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

/** A name of 64 bits: exact below 2^53, else folded to 53 bits. */
export function readKey(bytes: Buffer, at: number): number {
  const high = readU32(bytes, at + 4);
  const low = readU32(bytes, at);
  if (high < TWO_21) return high * TWO_32 + low;
  let mixed = Math.imul(high ^ (high >>> 15), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  const folded = (low ^ Math.imul(mixed ^ (mixed >>> 16), 0x9e3779b1)) >>> 0;
  return (((high ^ (mixed >>> 11)) >>> 0) % TWO_21) * TWO_32 + folded;
}

/** Takes one record of a fixed size apart. */
export interface FixedRecordParser {
  readonly recordBytes: number;
  /** How many bytes come before the first record. */
  readonly headerBytes: number;
  /** Adds its request, if it is one; answers false for a record that makes no sense. */
  parse(bytes: Buffer, at: number, batch: RequestBatch): boolean;
}

/** Feeds a parser with the records of a file. */
export class FixedScanner implements RecordParser {
  readonly #parser: FixedRecordParser;
  readonly #tally: FileTally;
  #headerLeft: number;

  constructor(parser: FixedRecordParser, { tally }: ParserContext) {
    this.#parser = parser;
    this.#tally = tally;
    this.#headerLeft = parser.headerBytes;
  }

  parse(bytes: Buffer, from: number, to: number, isLast: boolean, batch: RequestBatch): number {
    const parser = this.#parser;
    const { recordBytes } = parser;
    const tally = this.#tally;
    const passed = Math.min(this.#headerLeft, to - from);
    this.#headerLeft -= passed;
    let at = from + passed;
    while (at + recordBytes <= to && batch.count < batch.capacity) {
      tally.lines++;
      const { count } = batch;
      if (!parser.parse(bytes, at, batch) || isBeyondReach(batch, count)) {
        batch.count = count;
        const start = at;
        countMalformed(tally, () => bytes.toString('hex', start, start + recordBytes));
      }
      at += recordBytes;
    }
    if (isLast && at < to && batch.count < batch.capacity) {
      refuseTail(tally, to - at);
    }
    return at;
  }
}

/** Throws an error for a file that ends in the middle of a record: most of it may be missing. */
export function refuseTail({ path }: FileTally, bytes: number): never {
  throw new TmemError(
    'invalid',
    `${path} ends in the middle of a record; get the whole file, or do without the rest: ` +
      `truncate -s -${bytes} cuts off the last ${bytes} bytes`,
  );
}
