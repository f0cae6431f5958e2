/**
 * Where the tables of an image are when it is opened for writing. Nothing that is written later may
 * go there; and where two tables share a cluster no change is safe, since each would spoil the other.
 */

import { TmemError } from '../../../lib/errors.ts';
import { readUInt64BE } from '../../../lib/uint64.ts';
import type { Qcow2Disk } from '../reads/disk.ts';
import { MetadataMap } from '../space/metadata-map.ts';
import type { BitmapDirectory } from '../structures/bitmaps.ts';
import type { Qcow2Header } from '../structures/header.ts';
import { extensionOf } from '../structures/header-extensions.ts';
import { EXTENSION, L1_BYTES_MAX } from '../structures/layout.ts';
import type { PinnedTable } from '../structures/pinned-table.ts';
import { damage } from '../structures/refusal.ts';
import { readSnapshots } from '../structures/snapshot-table.ts';

export interface KnownTables {
  readonly metadata: MetadataMap;
  /** Why the image must not be changed; undefined when it may be. */
  readonly fault: TmemError | undefined;
}

/** A stretch of the storage, bytes, and what is there, for messages. */
interface Place {
  readonly offset: number;
  readonly length: number;
  readonly what: string;
}

/** Reads the table of snapshots; the others are given, `directory` if there are bitmaps. */
export async function knownTables(
  disk: Qcow2Disk,
  header: Qcow2Header,
  refcountTable: PinnedTable,
  directory: BitmapDirectory | undefined,
): Promise<KnownTables> {
  const { name, storage, l1 } = disk;
  const metadata = new MetadataMap(header.clusterBytes);
  const places = placesOf(header);
  if (directory !== undefined) places.push({ ...directory, what: 'the directory of bitmaps' });
  try {
    places.push(...(await snapshotPlaces(storage, header)));
  } catch (cause) {
    if (!(cause instanceof TmemError) || cause.kind !== 'invalid') throw cause;
    const what = 'the table of snapshots is damaged';
    return { metadata, fault: damage(name, header.snapshotsOffset, what) };
  }
  for (const place of [...places, ...blocksOf(refcountTable)]) {
    if (!metadata.addNew(place.offset, place.length)) {
      return { metadata, fault: shared(name, place) };
    }
  }
  // What lost counts were of would be taken for free, though entries still lead there.
  for (const { offset, length, what } of countsOf(header, refcountTable)) {
    if (offset + length <= storage.sizeBytes) continue;
    const cause = `${what} goes on behind the end of the file, which was cut off`;
    return { metadata, fault: unsafe(name, offset, cause) };
  }
  // An L2 table that is not the image's own is copied before it changes, so that it spoils nothing,
  // and what it was copied from is not given up where another table is: see FreedClusters. One that
  // is named twice spoils what the guest has there, but no other table.
  for (let index = 0; index < l1.entries; index++) {
    const offset = l1.offsetOf(index);
    if (!l1.isCopied(index) || !metadata.has(Math.floor(offset / header.clusterBytes))) continue;
    if (offset !== 0)
      return { metadata, fault: shared(name, { offset, length: 1, what: 'an L2 table' }) };
  }
  metadata.addEntriesOf(l1);
  return { metadata, fault: undefined };
}

function placesOf(header: Qcow2Header): Place[] {
  const { refcountTableOffset, refcountTableClusters, clusterBytes, l1Offset, l1Entries } = header;
  const refcountBytes = refcountTableClusters * clusterBytes;
  const places = [
    { offset: refcountTableOffset, length: refcountBytes, what: 'the refcount table' },
    { offset: l1Offset, length: l1Entries * 8, what: 'the L1 table' },
  ];
  const pointer = extensionOf(header.extensions, EXTENSION.encryption);
  if (pointer?.length === 16) {
    const [offset, length] = [readUInt64BE(pointer, 0), readUInt64BE(pointer, 8)];
    places.push({ offset, length, what: 'the LUKS header' });
  }
  return places;
}

async function snapshotPlaces(
  storage: Qcow2Disk['storage'],
  header: Qcow2Header,
): Promise<Place[]> {
  const snapshots = await readSnapshots(storage, header);
  const last = snapshots[snapshots.length - 1];
  if (last === undefined) return [];
  const offset = header.snapshotsOffset;
  const length = last.entryOffset + last.entryBytes - offset;
  const places = [{ offset, length, what: 'the table of snapshots' }];
  for (const { l1Offset, l1Entries } of snapshots) {
    const bytes = Math.min(l1Entries * 8, L1_BYTES_MAX);
    places.push({ offset: l1Offset, length: bytes, what: "a snapshot's L1 table" });
  }
  return places;
}

/** The blocks of counts, which are told by their first byte. */
function* blocksOf(table: PinnedTable): Generator<Place> {
  for (let index = 0; index < table.entries; index++) {
    const offset = table.offsetOf(index);
    if (offset !== 0) yield { offset, length: 1, what: 'a refcount block' };
  }
}

/** The table of counts and its blocks, all of each. */
function* countsOf(
  { refcountTableOffset, refcountTableClusters, clusterBytes }: Qcow2Header,
  table: PinnedTable,
): Generator<Place> {
  const length = refcountTableClusters * clusterBytes;
  yield { offset: refcountTableOffset, length, what: 'the refcount table' };
  for (const place of blocksOf(table)) yield { ...place, length: clusterBytes };
}

function shared(name: string, { offset, what }: Place): TmemError {
  return unsafe(name, offset, `${what} is said to be where another table is`);
}

function unsafe(name: string, offset: number, what: string): TmemError {
  const advice = 'repair it with "tmem image repair", or convert it';
  const context = { image: name, offset };
  return new TmemError('io', `"${name}" is damaged: at offset ${offset}, ${what}; ${advice}`, {
    context,
  });
}
