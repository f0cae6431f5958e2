/**
 * Persistent dirty bitmaps (qcow2 specification, "Bitmaps"): which parts of the disk were written
 * since some moment, for backups that copy only those.
 */

import { roundUp } from '../../../lib/round-up.ts';
import { readUInt64BE } from '../../../lib/uint64.ts';
import type { Storage } from '../../../storage/storage.ts';
import { readPadded } from '../../tables/read-padded.ts';
import type { Qcow2Header } from './header.ts';
import { extensionOf } from './header-extensions.ts';
import { AUTOCLEAR, EXTENSION } from './layout.ts';
import { refusal } from './refusal.ts';

const EXTENSION_BYTES = 24;
const ENTRY_BYTES = 24;
const BITMAPS_MAX = 65_535;
const DIRECTORY_BYTES_MAX = 64 << 20;
const TABLE_ENTRIES_MAX = 2 ** 27;
const NAME_BYTES_MAX = 1023;
const GRANULARITY_BITS_MIN = 9;
const GRANULARITY_BITS_MAX = 31;
/** The only type there is. */
const TYPE_DIRTY = 1;

export const BITMAP_FLAG = { inUse: 1, auto: 2, extraDataCompatible: 4 } as const;
const FLAGS_KNOWN = 7;

/** Where the directory of all bitmaps is. */
export interface BitmapDirectory {
  readonly count: number;
  readonly offset: number;
  readonly length: number;
}

export interface Bitmap {
  readonly name: string;
  /** Somebody wrote to the disk and did not store the bitmap since: it says nothing. */
  readonly isInUse: boolean;
  /** It is to be kept up to date by every writer. */
  readonly isAuto: boolean;
  /** Bytes of the disk that one bit stands for; a power of two. */
  readonly granularityBytes: number;
  readonly tableOffset: number;
  readonly tableEntries: number;
  /** Where its entry begins, bytes from the directory's start. */
  readonly entryAt: number;
}

/**
 * What the header says of bitmaps; undefined when there are none, or when a program that does not
 * know of them has written to the image: then they say nothing, and their space is leaked.
 */
export function bitmapDirectory(header: Qcow2Header, name: string): BitmapDirectory | undefined {
  const data = extensionOf(header.extensions, EXTENSION.bitmaps);
  if (data === undefined || (header.autoclear & AUTOCLEAR.bitmaps) === 0n) return undefined;
  if (data.length !== EXTENSION_BYTES) {
    throw refusal(name, header.headerBytes, `the bitmaps extension has ${data.length} bytes`);
  }
  const count = data.readUInt32BE(0);
  const length = readUInt64BE(data, 8);
  const offset = readUInt64BE(data, 16);
  const bad = (what: string) => refusal(name, header.headerBytes, what);
  if (count === 0 || count > BITMAPS_MAX) throw bad(`${count} bitmaps cannot be`);
  if (length > DIRECTORY_BYTES_MAX || length < count * ENTRY_BYTES) {
    throw bad(`a bitmap directory of ${length} bytes cannot hold ${count} bitmaps`);
  }
  if (offset % header.clusterBytes !== 0 || !Number.isSafeInteger(offset + length)) {
    throw bad(`the bitmap directory at ${offset} does not begin with a cluster`);
  }
  return { count, offset, length };
}

/** Reads all entries of the directory. Rejects with a TmemError `invalid` when it is damaged. */
export async function readBitmaps(
  storage: Storage,
  header: Qcow2Header,
  directory: BitmapDirectory,
): Promise<Bitmap[]> {
  const { offset, length, count } = directory;
  if (offset + length > storage.sizeBytes) {
    throw refusal(storage.name, offset, 'the bitmap directory goes past the end of the file');
  }
  const bytes = Buffer.alloc(length);
  await readPadded(storage, bytes, 0, length, offset);
  const bitmaps: Bitmap[] = [];
  let at = 0;
  while (at < length) {
    const next = parseEntry(bytes, at, offset, header, storage.name);
    bitmaps.push(next.bitmap);
    at = next.end;
  }
  if (bitmaps.length !== count) {
    throw refusal(storage.name, offset, `${count} bitmaps are announced, ${bitmaps.length} there`);
  }
  return bitmaps;
}

function parseEntry(
  bytes: Buffer,
  at: number,
  directoryOffset: number,
  header: Qcow2Header,
  name: string,
): { bitmap: Bitmap; end: number } {
  const bad = (what: string) => refusal(name, directoryOffset + at, what);
  if (at + ENTRY_BYTES > bytes.length) throw bad('a bitmap entry is cut short');
  const tableOffset = readUInt64BE(bytes, at);
  const tableEntries = bytes.readUInt32BE(at + 8);
  const flags = bytes.readUInt32BE(at + 12);
  const type = bytes.readUInt8(at + 16);
  const granularityBits = bytes.readUInt8(at + 17);
  const nameBytes = bytes.readUInt16BE(at + 18);
  const extraBytes = bytes.readUInt32BE(at + 20);
  const nameAt = at + ENTRY_BYTES + extraBytes;
  const end = roundUp(nameAt + nameBytes, 8);
  if (end > bytes.length) throw bad('a bitmap entry goes past the end of the directory');
  if (nameBytes === 0 || nameBytes > NAME_BYTES_MAX) throw bad(`a name of ${nameBytes} bytes`);
  if (type !== TYPE_DIRTY) throw bad(`a bitmap of the unknown type ${type}`);
  if ((flags & ~FLAGS_KNOWN) !== 0) throw bad(`a bitmap has the unknown flags ${flags}`);
  if (granularityBits < GRANULARITY_BITS_MIN || granularityBits > GRANULARITY_BITS_MAX) {
    throw bad(`a granularity of ${granularityBits} bits is not 9 to 31`);
  }
  if (tableEntries === 0 || tableEntries > TABLE_ENTRIES_MAX) {
    throw bad(`a bitmap table of ${tableEntries} entries`);
  }
  if (tableOffset === 0 || tableOffset % header.clusterBytes !== 0) {
    throw bad(`the bitmap table at ${tableOffset} does not begin with a cluster`);
  }
  if (!Number.isSafeInteger(tableOffset)) throw bad('a bitmap table is further out than can be');
  return {
    bitmap: {
      name: bytes.toString('utf8', nameAt, nameAt + nameBytes),
      isInUse: (flags & BITMAP_FLAG.inUse) !== 0,
      isAuto: (flags & BITMAP_FLAG.auto) !== 0,
      granularityBytes: 2 ** granularityBits,
      tableOffset,
      tableEntries,
      entryAt: at,
    },
    end,
  };
}
