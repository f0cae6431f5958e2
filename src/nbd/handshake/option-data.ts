/**
 * The data of options, parsed (NBD specification, "Option types"). Every length in it was chosen
 * by the client: each is compared with the bytes that are left, never added to before it is checked,
 * and the parts must add up to exactly the option's length.
 */

import { isUtf8 } from 'node:buffer';
import { META_QUERY_COUNT_MAX, STRING_BYTES_MAX } from '../protocol.ts';

/** What INFO and GO ask. */
export interface InfoRequest {
  readonly exportName: string;
  /** Information types, as sent: may hold unknown ones and, from a wrong client, duplicates. */
  readonly infoTypes: ReadonlySet<number>;
}

/** What LIST_META_CONTEXT and SET_META_CONTEXT ask. */
export interface MetaRequest {
  readonly exportName: string;
  /** How many queries there were; above META_QUERY_COUNT_MAX `queries` holds only the first. */
  readonly queryCount: number;
  readonly queries: readonly string[];
}

/** A string of the protocol, or undefined where it is too long, not UTF-8 or holds a NUL. */
export function parseString(bytes: Buffer): string | undefined {
  if (bytes.length > STRING_BYTES_MAX || bytes.includes(0) || !isUtf8(bytes)) return undefined;
  return bytes.toString('utf8');
}

/** The data of INFO and GO, or undefined where it is malformed. */
export function parseInfoRequest(data: Buffer): InfoRequest | undefined {
  const cursor = new Cursor(data);
  const exportName = cursor.string();
  const count = cursor.u16();
  if (exportName === undefined || count === undefined) return undefined;
  if (cursor.leftBytes !== count * 2) return undefined;
  const infoTypes = new Set<number>();
  for (let index = 0; index < count; index++) {
    const infoType = cursor.u16();
    if (infoType !== undefined) infoTypes.add(infoType);
  }
  return { exportName, infoTypes };
}

/** The data of LIST_META_CONTEXT and SET_META_CONTEXT, or undefined where it is malformed. */
export function parseMetaRequest(data: Buffer): MetaRequest | undefined {
  const cursor = new Cursor(data);
  const exportName = cursor.string();
  const queryCount = cursor.u32();
  if (exportName === undefined || queryCount === undefined) return undefined;
  const queries: string[] = [];
  // The count may be anything up to 2^32 − 1: the loop is bounded by the data, which runs out.
  for (let index = 0; index < queryCount; index++) {
    const query = cursor.string();
    if (query === undefined) return undefined;
    if (index < META_QUERY_COUNT_MAX) queries.push(query);
  }
  return cursor.leftBytes === 0 ? { exportName, queryCount, queries } : undefined;
}

/** Reads forward; undefined where the data ends too early. */
class Cursor {
  readonly #data: Buffer;
  #offset = 0;

  constructor(data: Buffer) {
    this.#data = data;
  }

  get leftBytes(): number {
    return this.#data.length - this.#offset;
  }

  u16(): number | undefined {
    if (this.leftBytes < 2) return undefined;
    const value = this.#data.readUInt16BE(this.#offset);
    this.#offset += 2;
    return value;
  }

  u32(): number | undefined {
    if (this.leftBytes < 4) return undefined;
    const value = this.#data.readUInt32BE(this.#offset);
    this.#offset += 4;
    return value;
  }

  /** A 32-bit length and as many bytes. */
  string(): string | undefined {
    const length = this.u32();
    if (length === undefined || length > this.leftBytes) return undefined;
    const bytes = this.#data.subarray(this.#offset, this.#offset + length);
    this.#offset += length;
    return parseString(bytes);
  }
}
