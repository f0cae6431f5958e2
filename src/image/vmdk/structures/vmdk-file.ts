/** What a file of a VMDK says about itself, read without opening any other. */

import { TmemError } from '../../../lib/errors.ts';
import type { Storage } from '../../../storage/storage.ts';
import { damaged, unsupported } from './damage.ts';
import {
  DESCRIPTOR_BYTES_MAX,
  type Descriptor,
  looksLikeDescriptor,
  parseDescriptor,
} from './descriptor.ts';
import { readFooter } from './markers.ts';
import {
  HEADER_BYTES,
  parseSparseHeader,
  SECTOR_BYTES,
  SPARSE_MAGIC,
  type SparseHeader,
  tableCount,
} from './sparse-header.ts';

/** Little endian, 8 bytes; the format of snapshots on VMFS 6, which nobody has described. */
const SESPARSE_MAGIC = 0xcafe_babe;

/** The file that a VMDK is opened by. */
export interface VmdkFile {
  readonly descriptor: Descriptor;
  readonly descriptorOffset: number;
  /** Of a descriptor inside a sparse extent; undefined for one in a file of its own. */
  readonly header: SparseHeader | undefined;
}

/** Reads `length` bytes that must be there. */
export async function readExactly(
  storage: Storage,
  offset: number,
  length: number,
  what: string,
): Promise<Buffer> {
  if (offset + length > storage.sizeBytes) {
    const cause = `${what} of ${length} bytes ends behind the end of the file`;
    throw damaged(storage.name, offset, cause);
  }
  const bytes = Buffer.alloc(length);
  await storage.read(bytes, 0, length, offset);
  return bytes;
}

/** What the image's own file says; rejects unless it is a VMDK that can be one. */
export async function readVmdkFile(storage: Storage): Promise<VmdkFile> {
  const { name } = storage;
  const begin = await readExactly(
    storage,
    0,
    Math.min(HEADER_BYTES, storage.sizeBytes),
    'a header',
  );
  const magic = begin.toString('latin1', 0, 4);
  if (magic === SPARSE_MAGIC) return readMonolithic(storage, begin);
  if (magic === 'COWD') {
    const cause = 'it is an extent of VMFS, which says nothing of a parent';
    throw unsupported(name, 0, cause, 'open the descriptor beside it');
  }
  if (begin.length >= 4 && begin.readUInt32LE(0) === SESPARSE_MAGIC) {
    throw unsupported(
      name,
      0,
      'it is an extent of the type seSparse',
      'clone the disk with VMware',
    );
  }
  if (!looksLikeDescriptor(begin)) {
    throw damaged(name, 0, 'neither the header nor the descriptor of a VMDK begins here');
  }
  if (storage.sizeBytes > DESCRIPTOR_BYTES_MAX) {
    throw damaged(name, 0, `a descriptor of ${storage.sizeBytes} bytes is longer than 1 MiB`);
  }
  const text = await readExactly(storage, 0, storage.sizeBytes, 'the descriptor');
  const descriptor = parseDescriptor(text, name);
  if (descriptor.extents.length === 0) throw damaged(name, 0, 'the descriptor names no extents');
  return { descriptor, descriptorOffset: 0, header: undefined };
}

async function readMonolithic(storage: Storage, begin: Buffer): Promise<VmdkFile> {
  const { name } = storage;
  const header = parseSparseHeader(begin, name, 0);
  if (header.descriptorSector === 0 || header.descriptorSectors === 0) {
    const cause = 'it is one extent of an image, without the descriptor of the whole';
    throw unsupported(name, 28, cause, 'open the descriptor beside it');
  }
  const descriptorOffset = header.descriptorSector * SECTOR_BYTES;
  const length = header.descriptorSectors * SECTOR_BYTES;
  const text = await readExactly(storage, descriptorOffset, length, 'the descriptor');
  if (text[0] === 0) {
    const cause = 'it is one extent of an image, without the descriptor of the whole';
    throw unsupported(name, descriptorOffset, cause, 'open the descriptor beside it');
  }
  const descriptor = parseDescriptor(text, name, descriptorOffset);
  const [extent, ...others] = descriptor.extents;
  if (extent?.type !== 'SPARSE' || others.length > 0) {
    const cause = 'a descriptor inside an extent may describe that one alone, as SPARSE';
    throw damaged(name, descriptorOffset, cause);
  }
  return { descriptor, descriptorOffset, header };
}

/** What the header of an extent leads to. */
export interface SparseLayout extends SparseHeader {
  readonly directorySector: number;
}

/** Follows a header to its directory, by way of the footer if need be. */
export async function locateTables(storage: Storage, header: SparseHeader): Promise<SparseLayout> {
  const { name } = storage;
  const found = header.directorySector === undefined ? await readFooter(storage, header) : header;
  const { directorySector } = found;
  if (directorySector === undefined) {
    throw damaged(name, storage.sizeBytes, 'the footer does not say where the directory is');
  }
  const directories = [directorySector, found.redundantDirectorySector];
  for (const [index, sector] of directories.entries()) {
    if (index === 1 && sector === 0) continue;
    checkInside(storage, found, sector, index === 0 ? 'grain directory' : 'redundant directory');
  }
  return { ...found, directorySector };
}

function checkInside(storage: Storage, header: SparseHeader, sector: number, what: string): void {
  const offset = sector * SECTOR_BYTES;
  const length = tableCount(header) * 4;
  if (offset >= HEADER_BYTES && offset + length <= storage.sizeBytes) return;
  const cause = `the ${what} of ${length} bytes is not inside the file`;
  throw damaged(storage.name, offset, cause);
}

/** The header of a file that a descriptor calls a sparse extent. */
export async function readExtentHeader(storage: Storage): Promise<SparseHeader> {
  const begin = await readExactly(storage, 0, HEADER_BYTES, 'the header of a sparse extent');
  return parseSparseHeader(begin, storage.name, 0);
}

/** Refuses to write what other programs would read differently afterwards. */
export function checkIsWritable(header: SparseHeader, name: string): void {
  const refuse = (cause: string, advice: string) =>
    new TmemError('unsupported', `cannot write "${name}": ${cause}; ${advice}`);
  if (header.version === 3 && !header.isCompressed) {
    throw refuse('its changes are tracked in another file', 'open it for reading only');
  }
  if (header.unknownFlags !== 0) {
    const flags = `0x${header.unknownFlags.toString(16)}`;
    throw refuse(`its header has unknown flags, ${flags} at offset 8`, 'open it for reading only');
  }
  if (header.grainSectors > WRITABLE_GRAIN_SECTORS_MAX) {
    const cause = `its grains of ${header.grainSectors} sectors are copied whole`;
    throw refuse(cause, 'convert it to a smaller grain');
  }
  if (tableCount(header) > WRITABLE_TABLES_MAX) {
    throw refuse(`it has ${tableCount(header)} grain tables`, 'convert it to a larger grain');
  }
}

/** A write into a new grain copies all of it: 16 MiB. */
const WRITABLE_GRAIN_SECTORS_MAX = 32_768;
/** The places of all tables are looked at before the first write: 8 MiB of them. */
const WRITABLE_TABLES_MAX = 1 << 20;
