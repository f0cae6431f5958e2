/**
 * The table of internal snapshots (qcow2 specification, "Snapshots"): each has an L1 table of its
 * own, and shares with the others what did not change since.
 */

import type { Storage } from '../../storage/storage.ts';
import type { SnapshotInfo } from '../format.ts';
import { readPadded } from '../read-padded.ts';
import type { Qcow2Header } from './header.ts';
import { readUInt64, roundUp, SNAPSHOT_TABLE_BYTES_MAX } from './layout.ts';
import { refusal } from './refusal.ts';

const ENTRY_BYTES = 40;
/** What the specification knows: state size, disk size, instruction count. */
const EXTRA_BYTES_MAX = 1024;
/** Version 3 demands the first two. */
export const EXTRA_BYTES_V3 = 16;
const READ_BYTES = 1 << 16;

export interface Snapshot extends SnapshotInfo {
  /** As the table says it: may be anything. */
  readonly l1Offset: number;
  readonly l1Entries: number;
  /** Bytes of a virtual machine's memory and devices, kept behind the end of its disk. */
  readonly vmStateBytes: number;
  /** Bytes of the fields behind the fixed ones; version 3 demands 16. */
  readonly extraBytes: number;
}

/** The table as a whole. */
export interface SnapshotTable {
  readonly snapshots: readonly Snapshot[];
  /** Bytes that the entries take up. */
  readonly tableBytes: number;
}

/** Reads the table that the header names. Rejects with a TmemError `invalid` when it is damaged. */
export async function readSnapshots(storage: Storage, header: Qcow2Header): Promise<SnapshotTable> {
  const { snapshotCount, snapshotsOffset } = header;
  const reader = new TableReader(storage, snapshotsOffset);
  const snapshots: Snapshot[] = [];
  for (let index = 0; index < snapshotCount; index++) {
    snapshots.push(await readOne(reader, header, storage.name));
  }
  return { snapshots, tableBytes: reader.position };
}

async function readOne(reader: TableReader, header: Qcow2Header, name: string): Promise<Snapshot> {
  const at = reader.offset;
  const fixed = await reader.take(ENTRY_BYTES);
  const l1Offset = readUInt64(fixed, 0);
  const l1Entries = fixed.readUInt32BE(8);
  const idBytes = fixed.readUInt16BE(12);
  const nameBytes = fixed.readUInt16BE(14);
  const createdAt = fixed.readUInt32BE(16) + fixed.readUInt32BE(20) / 1e9;
  const shortStateBytes = fixed.readUInt32BE(32);
  const extraBytes = fixed.readUInt32BE(36);
  if (extraBytes > EXTRA_BYTES_MAX) {
    throw refusal(name, at, `a snapshot is said to have ${extraBytes} bytes of extra data`);
  }
  const rest = await reader.take(extraBytes + idBytes + nameBytes);
  reader.align();
  const text = (from: number, length: number) => rest.toString('utf8', from, from + length);
  return {
    id: text(extraBytes, idBytes),
    name: text(extraBytes + idBytes, nameBytes),
    sizeBytes: extraBytes >= 16 ? readUInt64(rest, 8) : header.sizeBytes,
    createdAt,
    l1Offset,
    l1Entries,
    vmStateBytes: extraBytes >= 8 ? readUInt64(rest, 0) : shortStateBytes,
    extraBytes,
  };
}

/**
 * The snapshot with that id or else that name; undefined if there is none. Two may have one name:
 * the first is it.
 */
export function findSnapshot<T extends SnapshotInfo>(
  snapshots: readonly T[],
  idOrName: string,
): T | undefined {
  const byId = snapshots.find(({ id }) => id === idOrName);
  return byId ?? snapshots.find(({ name }) => name === idOrName);
}

/** Takes a table of unknown length apart, reading it in pieces. */
class TableReader {
  /** Bytes taken so far. */
  position = 0;
  readonly #storage: Storage;
  readonly #start: number;
  #piece: Buffer = Buffer.alloc(0);
  #pieceStart = 0;

  constructor(storage: Storage, start: number) {
    this.#storage = storage;
    this.#start = start;
  }

  get offset(): number {
    return this.#start + this.position;
  }

  /** The next bytes; they belong to the reader and are good until the next call. */
  async take(length: number): Promise<Buffer> {
    const { position } = this;
    const { name, sizeBytes } = this.#storage;
    if (position + length > SNAPSHOT_TABLE_BYTES_MAX) {
      throw refusal(name, this.offset, 'the snapshot table is longer than 64 MiB');
    }
    if (this.offset + length > sizeBytes) {
      throw refusal(name, this.offset, 'the snapshot table goes past the end of the file');
    }
    if (position + length > this.#pieceStart + this.#piece.length) await this.#read(length);
    const from = position - this.#pieceStart;
    this.position += length;
    return this.#piece.subarray(from, from + length);
  }

  /** Entries begin at multiples of eight bytes. */
  align(): void {
    this.position = roundUp(this.position, 8);
  }

  async #read(length: number): Promise<void> {
    this.#piece = Buffer.alloc(Math.max(length, READ_BYTES));
    this.#pieceStart = this.position;
    await readPadded(this.#storage, this.#piece, 0, this.#piece.length, this.offset);
  }
}
