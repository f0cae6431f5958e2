/** What follows the header in the first cluster: records of a type, a length and bytes. */

import { roundUp } from '../../../lib/round-up.ts';
import { EXTENSION } from './layout.ts';
import { refusal } from './refusal.ts';

/** One record; types that nobody knows are kept for who does. */
export interface HeaderExtension {
  readonly type: number;
  readonly data: Buffer;
}

const RECORD_BYTES = 8;
const FEATURE_BYTES = 48;

/**
 * The extensions in `bytes` between `from` and `end`, without the one that ends them. Copies what it
 * keeps. Throws a TmemError `invalid` when a record goes past `end`.
 */
export function parseExtensions(
  bytes: Buffer,
  from: number,
  end: number,
  name: string,
): HeaderExtension[] {
  const extensions: HeaderExtension[] = [];
  for (let at = from; at + RECORD_BYTES <= end; ) {
    const type = bytes.readUInt32BE(at);
    if (type === EXTENSION.end) break;
    const length = bytes.readUInt32BE(at + 4);
    const dataAt = at + RECORD_BYTES;
    if (length > end - dataAt) {
      const cause = `a header extension is said to have ${length} bytes, and ${end - dataAt} are left`;
      throw refusal(name, at, cause);
    }
    extensions.push({ type, data: Buffer.from(bytes.subarray(dataAt, dataAt + length)) });
    at = dataAt + roundUp(length, 8);
  }
  return extensions;
}

/** The extensions as they are stored, with the one that ends them. */
export function encodeExtensions(extensions: readonly HeaderExtension[]): Buffer {
  const parts: Buffer[] = [];
  for (const { type, data } of extensions) {
    const record = Buffer.alloc(recordBytes(data));
    record.writeUInt32BE(type, 0);
    record.writeUInt32BE(data.length, 4);
    data.copy(record, RECORD_BYTES);
    parts.push(record);
  }
  parts.push(Buffer.alloc(RECORD_BYTES));
  return Buffer.concat(parts);
}

/** How long the record of an extension is. */
export function recordBytes(data: Buffer): number {
  return RECORD_BYTES + roundUp(data.length, 8);
}

/** The bytes of the first extension of that type. */
export function extensionOf(
  extensions: readonly HeaderExtension[],
  type: number,
): Buffer | undefined {
  return extensions.find((extension) => extension.type === type)?.data;
}

/** A string as extensions hold it; what follows a NUL is padding. */
export function textOf(data: Buffer): string {
  const end = data.indexOf(0);
  return data.toString('utf8', 0, end < 0 ? data.length : end);
}

/** What the image itself calls its incompatible feature `bit`, if it does. */
export function featureName(
  extensions: readonly HeaderExtension[],
  bit: number,
): string | undefined {
  const table = extensionOf(extensions, EXTENSION.featureNames);
  if (table === undefined) return undefined;
  for (let at = 0; at + FEATURE_BYTES <= table.length; at += FEATURE_BYTES) {
    if (table[at] !== 0 || table[at + 1] !== bit) continue;
    // The name is the image's: nothing of it may reach a terminal that is not plain text.
    return textOf(table.subarray(at + 2, at + FEATURE_BYTES)).replace(/[^\x20-\x7e]/g, '?');
  }
  return undefined;
}
