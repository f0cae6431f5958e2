/**
 * Opening a qcow2 image: the active disk, or one of its snapshots. What writes, mends and deciphers
 * is loaded for images that need it.
 */

import { TmemError } from '../../lib/errors.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import type { ImageFormat, OpenedFormat, OpenOptions, SectorCipher } from '../format.ts';
import { checkPinned } from '../tables/pinned.ts';
import { TableCache } from '../tables/table-cache.ts';
import { deflateCodec, zstdCodec } from './reads/compression.ts';
import { type Qcow2Disk, storagesOf } from './reads/disk.ts';
import { Qcow2Mapping } from './reads/mapping.ts';
import { geometryOf } from './structures/geometry.ts';
import { has, type Qcow2Header, readHeader } from './structures/header.ts';
import { COMPRESSION, CRYPT, FIELD } from './structures/layout.ts';
import { PinnedTable } from './structures/pinned-table.ts';
import { backingReference, dataFileReference } from './structures/references.ts';
import { refusal } from './structures/refusal.ts';
import { checkSnapshot, findSnapshot, readSnapshots } from './structures/snapshot-table.ts';

/** Opens the image on `storage`; see `FormatDriver.open`. */
export async function openQcow2(
  storage: ResizableStorage,
  options: OpenOptions,
): Promise<OpenedFormat> {
  const isReadOnly = options.isReadOnly || options.snapshot !== undefined;
  const header = isReadOnly ? await readHeader(storage) : await headerForWriting(storage);
  const disk = await openDisk(storage, header, options);
  const backing = backingReference(header);
  if (isReadOnly) return { format: new ReadOnlyQcow2(disk), backing };
  const { tableBytesMax, pinnedBytesMax, isUnplaced } = options;
  const parts = { disk, header, tableBytesMax, pinnedBytesMax, isUnplaced };
  const { openWritable } = await import('./writes/writable.ts');
  return { format: await openWritable(parts), backing };
}

/** The header of an image whose counts can be relied on: one not cleanly closed is mended first. */
async function headerForWriting(storage: ResizableStorage): Promise<Qcow2Header> {
  const { name } = storage;
  const header = await readHeader(storage);
  if (has(header, 'corrupt')) {
    const advice = 'open it read-only, or repair it with "tmem image check --repair=all"';
    throw new TmemError('invalid', `"${name}" is marked as corrupt; ${advice}`);
  }
  if (!has(header, 'dirty')) return header;
  const { repairRefcounts } = await import('./check/check.ts');
  await repairRefcounts(storage);
  return readHeader(storage);
}

async function openDisk(
  storage: ResizableStorage,
  header: Qcow2Header,
  options: OpenOptions,
): Promise<Qcow2Disk> {
  const geometry = geometryOf(header);
  const { name } = storage;
  const active = await activeTable(storage, header, options.snapshot);
  checkIsWhole(storage, active.l1Offset, active.l1Entries);
  checkPinned(name, active.l1Entries * 8, options);
  const l1 = await PinnedTable.read(storage, active.l1Offset, active.l1Entries);
  const cipher = await cipherOf(storage, header, options);
  const { sliceBytes } = geometry;
  const l2 = new TableCache({ storage, sliceBytes, limitBytes: options.tableBytesMax });
  const codec = header.compressionType === COMPRESSION.zstd ? zstdCodec : deflateCodec;
  const dataStorage = await openDataFile(storage, header, options);
  const { sizeBytes: virtualSizeBytes } = active;
  return { name, geometry, storage, dataStorage, l2, codec, cipher, l1, virtualSizeBytes };
}

async function cipherOf(
  storage: ResizableStorage,
  header: Qcow2Header,
  { passphrase, isReadOnly }: OpenOptions,
): Promise<SectorCipher | undefined> {
  if (header.crypt === CRYPT.none) return undefined;
  const { openCipher } = await import('./structures/encryption.ts');
  return openCipher(storage, header, passphrase, isReadOnly);
}

async function activeTable(
  storage: ResizableStorage,
  header: Qcow2Header,
  wanted: string | undefined,
) {
  if (wanted === undefined) {
    if (header.l1Entries > 0 && header.l1Offset === 0) {
      throw refusal(storage.name, FIELD.l1Offset, 'there is no L1 table');
    }
    return header;
  }
  const snapshots = await readSnapshots(storage, header);
  const snapshot = findSnapshot(snapshots, wanted, storage.name);
  checkSnapshot(snapshot, header, geometryOf(header).tableCoverageBytes, storage.name);
  return snapshot;
}

/** A file that was cut in front of its first table would read as an empty disk. */
function checkIsWhole({ name, sizeBytes }: ResizableStorage, offset: number, entries: number) {
  if (entries === 0 || offset < sizeBytes) return;
  const cause = `its L1 table is at ${offset}, and the file ends at ${sizeBytes}: it was cut off`;
  throw refusal(name, FIELD.l1Offset, cause);
}

async function openDataFile(
  storage: ResizableStorage,
  header: Qcow2Header,
  options: OpenOptions,
): Promise<ResizableStorage> {
  const reference = dataFileReference(header);
  if (reference === undefined) return storage;
  if (reference.name === '') {
    const advice = 'name one with "qemu-img amend"';
    const cause = 'its data are in another file, which it does not name';
    throw new TmemError('invalid', `cannot open "${storage.name}": ${cause}; ${advice}`);
  }
  return options.openFile(reference);
}

/** A disk that is only read. */
class ReadOnlyQcow2 implements ImageFormat {
  readonly formatName = 'qcow2';
  readonly #disk: Qcow2Disk;
  readonly #mapping: Qcow2Mapping;

  constructor(disk: Qcow2Disk) {
    this.#disk = disk;
    this.#mapping = new Qcow2Mapping(disk);
  }

  get virtualSizeBytes() {
    return this.#disk.virtualSizeBytes;
  }

  get storages() {
    return storagesOf(this.#disk);
  }

  get tables() {
    return this.#disk.l2.statistics;
  }

  get pinnedBytes() {
    return this.#disk.l1.bytes;
  }

  map(offset: number, length: number) {
    return this.#mapping.map(offset, length);
  }
}
