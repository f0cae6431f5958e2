/** The refcounts that an image keeps: where their blocks are, and what they say. */

import { TmemError } from '../../../lib/errors.ts';
import { roundUp } from '../../../lib/round-up.ts';
import { readUInt64BE } from '../../../lib/uint64.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import { readPadded } from '../../tables/read-padded.ts';
import { readCounter } from '../structures/counters.ts';
import type { Geometry } from '../structures/geometry.ts';
import type { Qcow2Header } from '../structures/header.ts';
import { ClusterCounts, PAGE_CLUSTERS } from './cluster-counts.ts';
import type { Findings } from './findings.ts';
import type { Marks } from './marks.ts';
import { type SweptTable, sweepTables } from './table-sweep.ts';

const OFFSET_LOW_MASK = 511;

export interface StoredRefcounts {
  readonly counts: ClusterCounts;
  /** Where each block is, by its number; 0 for none, or for none that could be used. */
  readonly blocks: Float64Array;
  /** The table or its blocks are damaged, so that the counts must be made anew elsewhere. */
  isBroken: boolean;
}

/** Reads the counters of all clusters of the file. */
export async function readStored(
  storage: ResizableStorage,
  header: Qcow2Header,
  geometry: Geometry,
  clusters: number,
  findings: Findings,
  signal: AbortSignal | undefined,
): Promise<StoredRefcounts> {
  const stored = await readTable(storage, header, geometry, clusters, findings);
  const { blocks, counts } = stored;
  const { blockEntries, refcountBits, clusterBytes } = geometry;
  // One block for two ranges of clusters is found later; here it is read for the first.
  const byOffset = new Map<number, number>();
  for (let index = 0; index < blocks.length && index * blockEntries < clusters; index++) {
    const offset = blocks[index]!;
    if (offset !== 0 && !byOffset.has(offset)) byOffset.set(offset, index);
  }
  const offsets = Float64Array.from(byOffset.keys()).sort();
  await sweepTables({
    storage,
    offsets,
    tableBytes: clusterBytes,
    visit: ({ bytes, words, at, index }) => {
      const first = byOffset.get(offsets[index]!)! * blockEntries;
      const count = Math.min(blockEntries, clusters - first);
      if (isZero(words, at, clusterBytes)) return false;
      // The usual width, in blocks that are whole pages.
      if (refcountBits === 16 && blockEntries % PAGE_CLUSTERS === 0) {
        takePages(counts, first, { bytes, words, at }, count);
        return false;
      }
      for (let entry = 0; entry < count; entry++) {
        const refcount = readCounter(bytes, at, entry, refcountBits);
        if (refcount !== 0) counts.set(first + entry, refcount);
      }
      return false;
    },
    onFailure: (first, end, cause) => {
      for (let index = first; index < end; index++) {
        findings.error(`the refcount block at ${offsets[index]}: ${cause.message}`);
      }
    },
    signal,
  });
  return stored;
}

/** Takes in `count` counters of 16 bits, those of clusters from `first` on. */
function takePages(
  counts: ClusterCounts,
  first: number,
  { bytes, words, at }: Pick<SweptTable, 'bytes' | 'words' | 'at'>,
  count: number,
): void {
  const block = new Uint16Array(bytes.buffer, bytes.byteOffset + at, roundUp(count, PAGE_CLUSTERS));
  bytes.subarray(at, at + block.byteLength).swap16();
  for (let start = 0; start < count; start += PAGE_CLUSTERS) {
    if (isZero(words, at + start * 2, PAGE_CLUSTERS * 2)) continue;
    const page = block.slice(start, start + PAGE_CLUSTERS);
    counts.setPage((first + start) / PAGE_CLUSTERS, page.fill(0, count - start));
  }
}

async function readTable(
  storage: ResizableStorage,
  header: Qcow2Header,
  geometry: Geometry,
  clusters: number,
  findings: Findings,
): Promise<StoredRefcounts> {
  const tableBytes = header.refcountTableClusters * geometry.clusterBytes;
  const counts = new ClusterCounts(clusters + 1);
  const storedBytes = Math.max(0, storage.sizeBytes - header.refcountTableOffset);
  const table = Buffer.alloc(Math.min(tableBytes, roundUp(storedBytes, 8)));
  const words = new Int32Array(table.buffer, table.byteOffset, table.length / 4);
  const blocks = new Float64Array(table.length / 8);
  const stored: StoredRefcounts = { counts, blocks, isBroken: tableBytes === 0 };
  try {
    await readPadded(storage, table, 0, table.length, header.refcountTableOffset);
  } catch (cause) {
    if (!(cause instanceof TmemError)) throw cause;
    findings.error(`the refcount table: ${cause.message}`);
    return stored;
  }
  for (let index = 0; index < blocks.length; index++) {
    if ((words[index * 2]! | words[index * 2 + 1]!) === 0) continue;
    const low = table.readUInt32BE(index * 8 + 4);
    const offset = readUInt64BE(table, index * 8) - (low & OFFSET_LOW_MASK);
    const fault = faultOf(offset, low, storage, geometry);
    if (fault === undefined) blocks[index] = offset;
    else {
      findings.corruption(
        'the refcount table entry',
        header.refcountTableOffset + index * 8,
        fault,
      );
      stored.isBroken = true;
    }
  }
  return stored;
}

function faultOf(
  offset: number,
  low: number,
  storage: ResizableStorage,
  { clusterBytes }: Geometry,
): string | undefined {
  if ((low & OFFSET_LOW_MASK) !== 0) return 'has reserved bits set';
  if (low % clusterBytes !== 0) return 'does not point to where a cluster begins';
  if (offset >= storage.sizeBytes) return 'points behind the end of the file';
  // The counts that are not there would be taken for zeros.
  return offset + clusterBytes > storage.sizeBytes
    ? 'points to a block that goes on behind the end of the file'
    : undefined;
}

/** A block holds only itself and what it counts: anything else in its cluster breaks it. */
export function checkBlocks(
  stored: StoredRefcounts,
  marks: Marks,
  { clusterBytes }: Geometry,
  findings: Findings,
): void {
  for (const offset of stored.blocks) {
    if (offset !== 0) marks.mark(offset, clusterBytes, 1, 'a refcount block');
  }
  for (const offset of stored.blocks) {
    if (offset === 0 || marks.counts.get(offset / clusterBytes) === 1) continue;
    findings.corruption('the refcount block', offset, 'is used for something else as well');
    stored.isBroken = true;
  }
}

function isZero(words: Int32Array, at: number, length: number): boolean {
  const end = (at + length) >>> 2;
  for (let word = at >>> 2; word < end; word++) if (words[word] !== 0) return false;
  return true;
}
