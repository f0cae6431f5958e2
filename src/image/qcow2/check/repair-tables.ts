/** Mends entries of L1 and L2 tables: what they point to, and whether they say it is theirs alone. */

import type { ResizableStorage } from '../../../storage/storage.ts';
import { readPadded } from '../../tables/read-padded.ts';
import { SECTOR_BYTES } from '../structures/layout.ts';
import type { CheckPass } from './pass.ts';
import { type SweptTable, sweepTables } from './table-sweep.ts';

const COPIED = 0x8000_0000;
const COMPRESSED = 0x4000_0000;
const OFFSET_HIGH = 0x00ff_ffff;
const TWO_32 = 2 ** 32;
const L1_PIECE_BYTES = 1 << 20;

/**
 * Clears reserved bits and flags that cannot be, and makes of zeros that point nowhere good ones.
 * Answers how many entries it changed. References change with that, so another pass must follow.
 */
export async function mendEntries(storage: ResizableStorage, pass: CheckPass): Promise<number> {
  const { geometry } = pass;
  const isExtended = geometry.subclusters > 1;
  const { clusterBytes } = geometry;
  let changed = 0;
  const write = (bytes: Buffer, at: number, high: number, low: number): void => {
    if (bytes.readUInt32BE(at) === high && bytes.readUInt32BE(at + 4) === low) return;
    bytes.writeUInt32BE(high, at);
    bytes.writeUInt32BE(low, at + 4);
    changed++;
  };
  const mendL1 = (bytes: Buffer, at: number): void => {
    const low = bytes.readUInt32BE(at + 4);
    const high = (bytes.readUInt32BE(at) & (COPIED | OFFSET_HIGH)) >>> 0;
    // What points to nothing may have pointed to something: it is left for people to look at.
    if ((high & OFFSET_HIGH) === 0 && low < SECTOR_BYTES) return;
    write(bytes, at, high, low - (low % SECTOR_BYTES));
  };
  for (const { offset, entries } of pass.walk.l1Tables) {
    await eachL1(storage, offset, entries, mendL1);
  }
  await eachL2(storage, pass, false, (bytes, at) => {
    const high = bytes.readUInt32BE(at);
    const low = bytes.readUInt32BE(at + 4);
    if ((high & COMPRESSED) !== 0) return write(bytes, at, (high & ~COPIED) >>> 0, low);
    const goodHigh = (high & (COPIED | OFFSET_HIGH)) >>> 0;
    const goodLow = low - (low % SECTOR_BYTES) + (low & 1);
    const isZero = isExtended ? bytes.readUInt32BE(at + 12) === 0 : (goodLow & 1) !== 0;
    const isAligned = (goodLow - (goodLow % SECTOR_BYTES)) % clusterBytes === 0;
    if (isAligned || !isZero) return write(bytes, at, goodHigh, goodLow);
    write(bytes, at, 0, isExtended ? 0 : 1);
  });
  return changed;
}

/**
 * Flags the entries of the active disk as what the references say: to be written in place where there
 * is one reference. The refcounts on the storage must be right before. Where `onlyLeaks`, not the
 * entries whose refcount was less than the references, and still is. Answers how many it changed.
 */
export async function setFlags(
  storage: ResizableStorage,
  pass: CheckPass,
  onlyLeaks: boolean,
): Promise<number> {
  const { header, geometry, marks, stored } = pass;
  const { clusterBytes, hasDataFile } = geometry;
  let changed = 0;
  const set = (bytes: Buffer, at: number, isData: boolean): void => {
    const high = bytes.readUInt32BE(at);
    const low = bytes.readUInt32BE(at + 4);
    const offset = (high & OFFSET_HIGH) * TWO_32 + low - (low % SECTOR_BYTES);
    if ((high & COMPRESSED) !== 0 || offset >= marks.fileBytes + clusterBytes) return;
    if (offset === 0 && !(isData && hasDataFile && high >= COPIED)) return;
    const cluster = Math.floor(offset / clusterBytes);
    const count = marks.counts.get(cluster);
    if (onlyLeaks && stored.counts.get(cluster) < count) return;
    const isOne = (isData && hasDataFile) || count === 1;
    if (isOne === high >= COPIED) return;
    bytes.writeUInt32BE((isOne ? high | COPIED : high & ~COPIED) >>> 0, at);
    changed++;
  };
  await eachL1(storage, header.l1Offset, header.l1Entries, (bytes, at) => set(bytes, at, false));
  await eachL2(storage, pass, true, (bytes, at) => set(bytes, at, true));
  return changed;
}

/** Hands out the entries of an L1 table and writes back the pieces that were changed. */
async function eachL1(
  storage: ResizableStorage,
  offset: number,
  entries: number,
  visit: (bytes: Buffer, at: number) => void,
): Promise<void> {
  const end = Math.min(offset + entries * 8, storage.sizeBytes);
  const piece = Buffer.alloc(Math.max(0, Math.min(L1_PIECE_BYTES, end - offset)));
  for (let at = offset; at < end; at += piece.length) {
    const bytes = Math.min(piece.length, end - at);
    await readPadded(storage, piece, 0, bytes, at);
    const before = Buffer.from(piece.subarray(0, bytes));
    for (let entry = 0; entry + 8 <= bytes; entry += 8) visit(piece, entry);
    if (!before.equals(piece.subarray(0, bytes))) await storage.write(piece, 0, bytes, at);
  }
}

/**
 * Hands out the entries of L2 tables. A table in a cluster that something else refers to as well is
 * left alone: what is written to it would destroy the other.
 */
async function eachL2(
  storage: ResizableStorage,
  { tables, geometry, marks }: CheckPass,
  onlyActive: boolean,
  visit: (bytes: Buffer, at: number) => void,
): Promise<void> {
  const { clusterBytes, entryBytes } = geometry;
  const offsets = tables.offsets.filter((offset, index) => {
    if (onlyActive && tables.activeTimes[index] === 0) return false;
    return marks.counts.get(offset / clusterBytes) === tables.times[index];
  });
  const before = Buffer.allocUnsafeSlow(clusterBytes);
  await sweepTables({
    storage,
    offsets,
    tableBytes: clusterBytes,
    visit: ({ bytes, words, at }: SweptTable) => {
      bytes.copy(before, 0, at, at + clusterBytes);
      for (let entry = at; entry < at + clusterBytes; entry += entryBytes) {
        const word = entry >>> 2;
        if (words[word] !== 0 || words[word + 1] !== 0) visit(bytes, entry);
      }
      return before.compare(bytes, at, at + clusterBytes) !== 0;
    },
    onFailure: (_first, _end, cause) => {
      throw cause;
    },
  });
}
