/** What the operations on one open image share. */

import type { ResizableStorage } from '../../../storage/storage.ts';
import type { SectorCipher } from '../../format.ts';
import type { TableCache } from '../../tables/table-cache.ts';
import type { Geometry } from '../structures/geometry.ts';
import { type L2Entry, readEntry } from '../structures/l2-entry.ts';
import type { PinnedTable } from '../structures/pinned-table.ts';
import { damage } from '../structures/refusal.ts';
import type { ClusterCodec } from './compression.ts';

/** One disk of an image: the active one, or a snapshot's. */
export interface Qcow2Disk {
  readonly name: string;
  readonly geometry: Geometry;
  /** Where the tables are, and the data too unless there is a data file. */
  readonly storage: ResizableStorage;
  readonly dataStorage: ResizableStorage;
  /** Slices of L2 tables, by their offset on `storage`. */
  readonly l2: TableCache;
  readonly codec: ClusterCodec;
  readonly cipher: SectorCipher | undefined;
  /** Replaced when it grows. */
  l1: PinnedTable;
  /** Of the guest's disk; changes with `resize`. */
  virtualSizeBytes: number;
}

/** All storages of the image. */
export function storagesOf({ storage, dataStorage }: Qcow2Disk): ResizableStorage[] {
  return storage === dataStorage ? [storage] : [storage, dataStorage];
}

/** Where the L2 table of a guest offset is; 0 for none. Throws when no table can be there. */
export function tableOffsetOf(disk: Qcow2Disk, guestOffset: number): number {
  const { geometry, l1 } = disk;
  const index = Math.floor(guestOffset / geometry.tableCoverageBytes);
  const offset = l1.offsetOf(index);
  if (offset % geometry.clusterBytes === 0 && offset <= Number.MAX_SAFE_INTEGER) return offset;
  const cause = `an L2 table is said to be at ${offset}, where no cluster begins`;
  throw damage(disk.name, l1.offset + index * 8, cause);
}

/** Which entry of its L2 table describes a guest offset. */
export function entryIndexOf({ geometry }: Qcow2Disk, guestOffset: number): number {
  return Math.floor((guestOffset % geometry.tableCoverageBytes) / geometry.clusterBytes);
}

/** Where the slice begins that holds that entry. */
export function sliceOffsetOf({ geometry }: Qcow2Disk, table: number, entryIndex: number): number {
  const { sliceEntries, sliceBytes } = geometry;
  return table + Math.floor(entryIndex / sliceEntries) * sliceBytes;
}

/** Reads the entry with that index in its slice; throws a TmemError `io` for a damaged one. */
export function readEntryOrThrow(
  disk: Qcow2Disk,
  slice: Buffer,
  sliceOffset: number,
  indexInSlice: number,
  entry: L2Entry,
): void {
  const at = indexInSlice * disk.geometry.entryBytes;
  readEntry(slice, at, disk.geometry, entry);
  if (entry.fault !== undefined) throw damage(disk.name, sliceOffset + at, entry.fault);
}
