/** Sets right what an image keeps as refcounts: in place, or all of them anew behind its end. */

import { TmemError } from '../../../lib/errors.ts';
import { writeUInt64BE } from '../../../lib/uint64.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import { readPadded } from '../../tables/read-padded.ts';
import { counterMax, writeCounter } from '../structures/counters.ts';
import { FIELD, REFCOUNT_TABLE_BYTES_MAX } from '../structures/layout.ts';
import { type ClusterCounts, PAGE_CLUSTERS } from './cluster-counts.ts';
import type { CheckPass } from './pass.ts';

/**
 * Writes the counts that the pass found into the blocks that are there; only lower ones where
 * `onlyLeaks`. Nothing is durable before the caller syncs.
 */
export async function correctRefcounts(
  storage: ResizableStorage,
  pass: CheckPass,
  onlyLeaks: boolean,
): Promise<void> {
  const { geometry, marks, stored, clusters } = pass;
  const { blockEntries, clusterBytes, refcountBits } = geometry;
  const block = Buffer.alloc(clusterBytes);
  const max = counterMax(refcountBits);
  for (const [index, offset] of stored.blocks.entries()) {
    const first = index * blockEntries;
    const end = Math.min(first + blockEntries, clusters);
    if (offset === 0 || !hasDifference(pass, first, end, onlyLeaks)) continue;
    await readPadded(storage, block, 0, clusterBytes, offset);
    for (let cluster = first; cluster < end; cluster++) {
      const count = marks.counts.get(cluster);
      const kept = stored.counts.get(cluster);
      if (count === kept || (onlyLeaks && count > kept)) continue;
      writeCounter(block, 0, cluster - first, refcountBits, Math.min(count, max));
    }
    await storage.write(block, 0, clusterBytes, offset);
  }
}

function hasDifference(
  { marks, stored }: CheckPass,
  first: number,
  end: number,
  onlyLeaks: boolean,
): boolean {
  for (let cluster = first; cluster < end; ) {
    const page = Math.floor(cluster / PAGE_CLUSTERS);
    const pageEnd = Math.min(end, (page + 1) * PAGE_CLUSTERS);
    if (marks.counts.page(page) === undefined && stored.counts.page(page) === undefined) {
      cluster = pageEnd;
      continue;
    }
    for (; cluster < pageEnd; cluster++) {
      const count = marks.counts.get(cluster);
      const kept = stored.counts.get(cluster);
      if (onlyLeaks ? count < kept : count !== kept) return true;
    }
  }
  return false;
}

/** Where new refcounts go: the table, and behind it the blocks. */
interface NewRefcounts {
  readonly tableOffset: number;
  readonly tableClusters: number;
  /** Numbers of the blocks that count something. */
  readonly blocks: readonly number[];
}

/**
 * Makes a table and blocks behind the end of the file with the counts that the pass found, and turns
 * the header to them when they are durable. What the old ones took is free then, so that a crash
 * leaves the image as it was, with some space leaked.
 */
export async function rebuildRefcounts(storage: ResizableStorage, pass: CheckPass): Promise<void> {
  const { header, geometry, marks, stored } = pass;
  const { clusterBytes } = geometry;
  const oldBytes = header.refcountTableClusters * clusterBytes;
  const isOldInside = header.refcountTableOffset + oldBytes - marks.fileBytes < clusterBytes;
  if (oldBytes > 0 && isOldInside) marks.unmark(header.refcountTableOffset, oldBytes);
  for (const offset of stored.blocks) if (offset !== 0) marks.unmark(offset, clusterBytes);
  const plan = planRefcounts(storage.name, pass);
  await writeBlocks(storage, pass, plan);
  await storage.sync();
  const fields = Buffer.alloc(12);
  writeUInt64BE(fields, plan.tableOffset, 0);
  fields.writeUInt32BE(plan.tableClusters, 8);
  await storage.write(fields, 0, fields.length, FIELD.refcountTableOffset);
  await storage.sync();
}

function planRefcounts(name: string, { geometry, marks, clusters }: CheckPass): NewRefcounts {
  const { clusterBytes, blockEntries } = geometry;
  const blocks = blocksInUse(marks.counts, clusters, blockEntries);
  // The new clusters need counters too, in blocks that follow: each round may add some.
  let tableClusters = 0;
  for (;;) {
    const last = Math.floor((clusters + tableClusters + blocks.length - 1) / blockEntries);
    const needed = Math.ceil(((last + 1) * 8) / clusterBytes);
    const first = Math.floor(clusters / blockEntries);
    let next = Math.max(first, (blocks.at(-1) ?? -1) + 1);
    if (needed === tableClusters && next > last) break;
    tableClusters = needed;
    for (; next <= last; next++) blocks.push(next);
  }
  if (tableClusters * clusterBytes > REFCOUNT_TABLE_BYTES_MAX) {
    const advice = 'convert it to an image with larger clusters';
    const cause = 'new refcounts would take a longer table than there may be';
    throw new TmemError('unsupported', `cannot repair "${name}": ${cause}; ${advice}`);
  }
  return { tableOffset: clusters * clusterBytes, tableClusters, blocks };
}

/** The numbers of blocks that hold a count, in ascending order. */
function blocksInUse(counts: ClusterCounts, clusters: number, blockEntries: number): number[] {
  const blocks: number[] = [];
  for (let index = 0; index < counts.pageCount; index++) {
    const page = counts.page(index);
    if (page === undefined) continue;
    for (let entry = 0; entry < PAGE_CLUSTERS; entry++) {
      const cluster = index * PAGE_CLUSTERS + entry;
      if (cluster >= clusters || page[entry] === 0) continue;
      const block = Math.floor(cluster / blockEntries);
      if (blocks.at(-1) !== block) blocks.push(block);
    }
  }
  return blocks;
}

async function writeBlocks(
  storage: ResizableStorage,
  { geometry, marks, clusters }: CheckPass,
  { tableOffset, tableClusters, blocks }: NewRefcounts,
): Promise<void> {
  const { clusterBytes, blockEntries, refcountBits } = geometry;
  const ownEnd = clusters + tableClusters + blocks.length;
  const blocksOffset = tableOffset + tableClusters * clusterBytes;
  const table = Buffer.alloc(tableClusters * clusterBytes);
  const block = Buffer.alloc(clusterBytes);
  const max = counterMax(refcountBits);
  for (const [position, index] of blocks.entries()) {
    block.fill(0);
    for (let entry = 0; entry < blockEntries; entry++) {
      const cluster = index * blockEntries + entry;
      if (cluster >= ownEnd) break;
      const count = cluster < clusters ? marks.counts.get(cluster) : 1;
      if (count > 0) writeCounter(block, 0, entry, refcountBits, Math.min(count, max));
    }
    const offset = blocksOffset + position * clusterBytes;
    writeUInt64BE(table, offset, index * 8);
    await storage.write(block, 0, clusterBytes, offset);
  }
  await storage.write(table, 0, table.length, tableOffset);
}
