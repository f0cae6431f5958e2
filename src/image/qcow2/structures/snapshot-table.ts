/** The table of internal snapshots: what there is besides the active disk. */

import { TmemError } from '../../../lib/errors.ts';
import { roundUp } from '../../../lib/round-up.ts';
import { readUInt64BE } from '../../../lib/uint64.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import type { SnapshotInfo } from '../../format.ts';
import { readPadded } from '../../tables/read-padded.ts';
import type { Qcow2Header } from './header.ts';
import { L1_BYTES_MAX, SNAPSHOT_TABLE_BYTES_MAX } from './layout.ts';
import { damage, refusal } from './refusal.ts';

/** One snapshot, as the table has it; offsets and sizes are bytes. */
export interface Qcow2Snapshot extends SnapshotInfo {
  readonly l1Offset: number;
  readonly l1Entries: number;
  readonly vmStateBytes: number;
  /** Where its entry begins and how long it is, padding included. */
  readonly entryOffset: number;
  readonly entryBytes: number;
  /** Bytes of the fields behind the fixed ones; version 3 demands 16. */
  readonly extraBytes: number;
}

const FIXED_BYTES = 40;
const EXTRA_BYTES_MAX = 1024;
/** Its fixed part, its extra data, and two names of 64 KiB each. */
const ENTRY_BYTES_MAX = FIXED_BYTES + EXTRA_BYTES_MAX + 2 * 65_536;
/** What is read at once. */
const WINDOW_BYTES = 256 << 10;

/**
 * The snapshots of an image, in the order of its table. Rejects with a TmemError `invalid` when the
 * table is longer than any good one, or cut off.
 */
export async function readSnapshots(
  storage: ResizableStorage,
  header: Qcow2Header,
): Promise<Qcow2Snapshot[]> {
  const snapshots: Qcow2Snapshot[] = [];
  const window = Buffer.alloc(header.snapshotCount === 0 ? 0 : WINDOW_BYTES);
  let windowOffset = 0;
  let windowEnd = 0;
  let at = header.snapshotsOffset;
  for (let index = 0; index < header.snapshotCount; index++) {
    if (windowEnd - at < ENTRY_BYTES_MAX) {
      windowOffset = at;
      windowEnd = at + WINDOW_BYTES;
      if (at >= storage.sizeBytes) {
        throw refusal(storage.name, at, `the file ends before snapshot ${index}`);
      }
      await readPadded(storage, window, 0, WINDOW_BYTES, at);
    }
    const snapshot = parseSnapshot(window, at - windowOffset, at, header, storage.name);
    snapshots.push(snapshot);
    at += snapshot.entryBytes;
    if (at - header.snapshotsOffset > SNAPSHOT_TABLE_BYTES_MAX) {
      throw refusal(storage.name, at, 'the snapshot table is longer than 64 MiB');
    }
  }
  return snapshots;
}

function parseSnapshot(
  bytes: Buffer,
  at: number,
  entryOffset: number,
  header: Qcow2Header,
  name: string,
): Qcow2Snapshot {
  const idBytes = bytes.readUInt16BE(at + 12);
  const nameBytes = bytes.readUInt16BE(at + 14);
  const extraBytes = bytes.readUInt32BE(at + 36);
  if (extraBytes > EXTRA_BYTES_MAX) {
    throw refusal(name, entryOffset, `a snapshot has ${extraBytes} bytes of extra data`);
  }
  const extraAt = at + FIXED_BYTES;
  const idAt = extraAt + extraBytes;
  const nameAt = idAt + idBytes;
  const hasSize = extraBytes >= 16;
  return {
    id: bytes.toString('utf8', idAt, nameAt),
    name: bytes.toString('utf8', nameAt, nameAt + nameBytes),
    sizeBytes: hasSize ? readUInt64BE(bytes, extraAt + 8) : header.sizeBytes,
    createdAt: bytes.readUInt32BE(at + 16),
    l1Offset: readUInt64BE(bytes, at),
    l1Entries: bytes.readUInt32BE(at + 8),
    vmStateBytes: extraBytes >= 8 ? readUInt64BE(bytes, extraAt) : bytes.readUInt32BE(at + 32),
    entryOffset,
    entryBytes: roundUp(FIXED_BYTES + extraBytes + idBytes + nameBytes, 8),
    extraBytes,
  };
}

/** The snapshot with that id, or else with that name; throws a TmemError `not-found`. */
export function findSnapshot(
  snapshots: readonly Qcow2Snapshot[],
  wanted: string,
  name: string,
): Qcow2Snapshot {
  const found =
    snapshots.find(({ id }) => id === wanted) ??
    snapshots.find((snapshot) => snapshot.name === wanted);
  if (found !== undefined) return found;
  const advice = 'see "tmem image info" for those that there are';
  throw new TmemError('not-found', `"${name}" has no snapshot "${wanted}"; ${advice}`);
}

/** Throws a TmemError `io` for a snapshot whose tables cannot be those of a disk of its size. */
export function checkSnapshot(
  { l1Offset, l1Entries, sizeBytes, entryOffset }: Qcow2Snapshot,
  { clusterBytes }: Qcow2Header,
  tableCoverageBytes: number,
  name: string,
): void {
  if (l1Offset % clusterBytes !== 0 || !Number.isSafeInteger(l1Offset)) {
    throw damage(name, entryOffset, `a snapshot's L1 table is said to be at ${l1Offset}`);
  }
  if (l1Entries * 8 > L1_BYTES_MAX) {
    throw damage(name, entryOffset + 8, `a snapshot's L1 table has ${l1Entries} entries`);
  }
  if (!Number.isSafeInteger(sizeBytes) || Math.ceil(sizeBytes / tableCoverageBytes) > l1Entries) {
    const cause = `${l1Entries} L1 entries of a snapshot are too few for ${sizeBytes} bytes`;
    throw damage(name, entryOffset, cause);
  }
}
