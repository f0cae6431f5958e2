/**
 * One pass over an image: every reference to a cluster is counted, and the sum held against the
 * refcounts that the image keeps (qcow2 specification, "Host cluster management").
 */

import { TmemError } from '../../../lib/errors.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import type { CheckOptions } from '../../format.ts';
import { type Geometry, geometryOf } from '../structures/geometry.ts';
import { type Qcow2Header, readHeader } from '../structures/header.ts';
import { type ClusterPage, PAGE_CLUSTERS } from './cluster-counts.ts';
import { Findings } from './findings.ts';
import { Marks } from './marks.ts';
import { checkBitmaps, checkEncryption, checkSnapshots } from './others.ts';
import { checkBlocks, readStored, type StoredRefcounts } from './stored.ts';
import { type L2Tables, TableWalk } from './tables.ts';

/** As many as qemu can count as well. */
const CLUSTERS_MAX = 2 ** 31 - 1;

export interface CheckPass {
  readonly header: Qcow2Header;
  readonly geometry: Geometry;
  /** Of the file, the last perhaps only in part. */
  readonly clusters: number;
  readonly findings: Findings;
  readonly marks: Marks;
  readonly stored: StoredRefcounts;
  readonly walk: TableWalk;
  readonly tables: L2Tables;
  /** Something besides the refcounts is said to be behind the end of the file. */
  readonly hasLost: boolean;
  /** Clusters whose kept refcount is not the number of references. */
  readonly wrongCounts: number;
  /** One more than the last cluster that is used or said to be. */
  readonly usedClusters: number;
}

/** Reads all tables once. Rejects when the header says that this is no image that can be checked. */
export async function checkPass(
  storage: ResizableStorage,
  options: Pick<CheckOptions, 'onProgress' | 'signal'>,
): Promise<CheckPass> {
  const header = await readHeader(storage, { isForCheck: true });
  const geometry = geometryOf(header);
  const clusters = Math.ceil(storage.sizeBytes / geometry.clusterBytes);
  if (clusters > CLUSTERS_MAX) {
    const cause = `it has ${clusters} clusters, more than can be counted`;
    const advice = 'convert it to one with larger clusters';
    throw new TmemError('unsupported', `cannot check "${storage.name}": ${cause}; ${advice}`);
  }
  const findings = new Findings();
  const marks = new Marks(storage.sizeBytes, clusters, geometry, findings);
  const { signal } = options;
  const stored = await readStored(storage, header, geometry, clusters, findings, signal);
  const parts = { storage, header, geometry, marks, findings };
  const walk = new TableWalk({ ...parts, stored: stored.counts });
  marks.mark(0, geometry.clusterBytes, 1, 'the header');
  await walk.addL1(header.l1Offset, header.l1Entries, true);
  await checkSnapshots(parts, walk);
  const tables = await walk.readL2(options);
  checkEncryption(parts);
  await checkBitmaps(parts);
  const { hasLost } = marks;
  markRefcountTable(header, stored, marks, findings);
  checkBlocks(stored, marks, geometry, findings);
  const compared = { hasLost, ...compare(marks, stored, clusters, geometry, findings) };
  return { header, geometry, clusters, findings, marks, stored, walk, tables, ...compared };
}

/** All of the table must be there: blocks that the rest of it names would be taken for none. */
function markRefcountTable(
  { refcountTableOffset, refcountTableClusters, clusterBytes }: Qcow2Header,
  stored: StoredRefcounts,
  marks: Marks,
  findings: Findings,
): void {
  const what = 'the refcount table';
  const tableBytes = refcountTableClusters * clusterBytes;
  const isMarked = marks.mark(refcountTableOffset, tableBytes, 1, what);
  if (refcountTableOffset + tableBytes <= marks.fileBytes) return;
  stored.isBroken = true;
  if (!isMarked) return;
  findings.corruption(what, refcountTableOffset, 'goes on behind the end of the file');
}

/** Holds the references against the kept counts, a page at a time: most are wholly alike. */
function compare(
  marks: Marks,
  stored: StoredRefcounts,
  clusters: number,
  { clusterBytes, blockEntries }: Geometry,
  findings: Findings,
): { wrongCounts: number; usedClusters: number } {
  let wrongCounts = 0;
  let usedClusters = 0;
  for (let index = 0; index < marks.counts.pageCount; index++) {
    const references = marks.counts.page(index);
    const kept = stored.counts.page(index);
    if (references === undefined && kept === undefined) continue;
    const first = index * PAGE_CLUSTERS;
    const count = Math.min(PAGE_CLUSTERS, clusters - first);
    if (references !== undefined && kept !== undefined && areAlike(references, kept)) {
      const used = kept.findLastIndex((number) => number !== 0) + 1;
      if (used > 0) usedClusters = first + Math.min(used, count);
      continue;
    }
    for (let entry = 0; entry < count; entry++) {
      const referenceCount = references === undefined ? 0 : references[entry]!;
      const keptCount = kept === undefined ? 0 : kept[entry]!;
      if (referenceCount !== 0 || keptCount !== 0) usedClusters = first + entry + 1;
      if (referenceCount === keptCount) continue;
      wrongCounts++;
      const cluster = first + entry;
      const at = cluster * clusterBytes;
      if (keptCount > referenceCount) {
        // What could not be followed may be what has them.
        if (!findings.isIncomplete) findings.leak('the cluster', at, 'has fewer references');
      } else {
        // Without a block there is no place for the right count.
        if (!stored.blocks[Math.floor(cluster / blockEntries)]) stored.isBroken = true;
        findings.corruption('the cluster', at, 'has more references than are counted');
      }
    }
  }
  return { wrongCounts, usedClusters };
}

/** Of pages of one width, by memory's own speed; others are compared number by number. */
function areAlike(one: ClusterPage, other: ClusterPage): boolean {
  if (one.BYTES_PER_ELEMENT !== other.BYTES_PER_ELEMENT) return false;
  return Buffer.compare(bytesOf(one), bytesOf(other)) === 0;
}

function bytesOf({ buffer, byteOffset, byteLength }: ClusterPage): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
