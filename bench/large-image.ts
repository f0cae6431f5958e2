/**
 * A large qcow2 image, 1 TiB with a million clusters, of which only the tables are in the file, since
 * a check looks at nothing else: one that has been written to all over, or from its beginning in one
 * go, as preallocation does. Laid out as the specification of
 * qcow2 says, version 3, with 64 KiB clusters and counts of 16 bits.
 */

import { closeSync, ftruncateSync, openSync, renameSync, writeSync } from 'node:fs';

const CLUSTER_BYTES = 65_536;
const CLUSTER_BITS = 16;
const HEADER_BYTES = 104;
const COUNT_BITS_ORDER = 4;
const COUNTS_PER_BLOCK = CLUSTER_BYTES / 2;
/** Clusters of the disk in one L2 table. */
const ENTRIES = CLUSTER_BYTES / 8;
/** Of an entry: what it points to has one reference. */
const COPIED = 0x8000_0000;
/** An odd number, by which the places of clusters are mixed: an aged image is in no order. */
const SCATTER = 40_503;

export interface LargeImageSize {
  readonly diskBytes: number;
  /** A power of two. */
  readonly clusters: number;
  /**
   * Scattered: spread evenly over the disk, so that there are all tables, and in no order. Packed:
   * all at the beginning of the disk, in order, and the tables that are needed for them.
   */
  readonly layout: 'scattered' | 'packed';
}

/** Writes the image to `path`; what is there is replaced when it is complete. */
export function writeLargeImage(path: string, size: LargeImageSize): void {
  const { diskBytes, clusters, layout } = size;
  const l1Entries = Math.ceil(diskBytes / CLUSTER_BYTES / ENTRIES);
  const tables = layout === 'packed' ? Math.ceil(clusters / ENTRIES) : l1Entries;
  const l1Clusters = Math.ceil((l1Entries * 8) / CLUSTER_BYTES);
  // A block counts itself, too: one more than the rest needs is always enough.
  const blocks = Math.ceil((2 + l1Clusters + tables + clusters) / COUNTS_PER_BLOCK) + 1;
  const l1Start = 2;
  const blocksStart = l1Start + l1Clusters;
  const tablesStart = blocksStart + blocks;
  const dataStart = tablesStart + tables;
  const end = dataStart + clusters;
  const unfinished = `${path}.unfinished`;
  const file = openSync(unfinished, 'w');
  try {
    const write = (bytes: Buffer, cluster: number) =>
      writeSync(file, bytes, 0, bytes.length, cluster * CLUSTER_BYTES);
    ftruncateSync(file, end * CLUSTER_BYTES);
    write(headerOf(diskBytes, l1Entries, l1Start), 0);
    write(pointers(blocks, blocksStart, 0), 1);
    write(pointers(tables, tablesStart, COPIED), l1Start);
    for (let block = 0; block < blocks; block++) {
      write(countsOf(end - block * COUNTS_PER_BLOCK), blocksStart + block);
    }
    const perTable = clusters / tables;
    for (let table = 0; table < tables; table++) {
      const first = table * perTable;
      const scatter = layout === 'packed' ? 1 : SCATTER;
      const part = { first, count: perTable, clusters, dataStart, scatter };
      write(l2Table(part), tablesStart + table);
    }
  } finally {
    closeSync(file);
  }
  renameSync(unfinished, path);
}

function headerOf(diskBytes: number, l1Entries: number, l1Start: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES + 8);
  header.write('QFI\xfb', 0, 'latin1');
  header.writeUInt32BE(3, 4);
  header.writeUInt32BE(CLUSTER_BITS, 20);
  header.writeBigUInt64BE(BigInt(diskBytes), 24);
  header.writeUInt32BE(l1Entries, 36);
  header.writeBigUInt64BE(BigInt(l1Start * CLUSTER_BYTES), 40);
  header.writeBigUInt64BE(BigInt(CLUSTER_BYTES), 48);
  header.writeUInt32BE(1, 56);
  header.writeUInt32BE(COUNT_BITS_ORDER, 96);
  header.writeUInt32BE(HEADER_BYTES, 100);
  return header;
}

/** Entries that point to clusters side by side. */
function pointers(count: number, firstCluster: number, flags: number): Buffer {
  const bytes = Buffer.alloc(count * 8);
  for (let index = 0; index < count; index++) point(bytes, index, firstCluster + index, flags);
  return bytes;
}

function point(bytes: Buffer, index: number, cluster: number, flags: number): void {
  const offset = cluster * CLUSTER_BYTES;
  bytes.writeUInt32BE((Math.floor(offset / 2 ** 32) | flags) >>> 0, index * 8);
  bytes.writeUInt32BE(offset % 2 ** 32, index * 8 + 4);
}

/** A block whose first `used` clusters are referred to once. */
function countsOf(used: number): Buffer {
  const block = Buffer.alloc(CLUSTER_BYTES);
  for (let index = 0; index < Math.min(used, COUNTS_PER_BLOCK); index++) {
    block.writeUInt16BE(1, index * 2);
  }
  return block;
}

interface TablePart {
  readonly first: number;
  readonly count: number;
  readonly clusters: number;
  readonly dataStart: number;
  readonly scatter: number;
}

function l2Table({ first, count, clusters, dataStart, scatter }: TablePart): Buffer {
  const table = Buffer.alloc(CLUSTER_BYTES);
  for (let index = 0; index < count; index++) {
    const place = ((first + index) * scatter) % clusters;
    point(table, Math.floor((index * ENTRIES) / count), dataStart + place, COPIED);
  }
  return table;
}
