/**
 * The header of a hosted sparse extent, 512 bytes, little endian: VMware's "Virtual Disk Format 5.0",
 * section "Hosted Sparse Extents". A footer at the end of a stream has the same layout.
 */

import type { ResizableStorage } from '../../../storage/storage.ts';
import { damaged, unsupported } from './damage.ts';

export const SECTOR_BYTES = 512;
export const HEADER_BYTES = 512;
export const SPARSE_MAGIC = 'KDMV';
/** Positions on the file are sectors in 32 bits. */
export const POSITION_SECTORS_MAX = 2 ** 32;

const FLAG = {
  newlineTest: 1,
  redundantDirectory: 2,
  zeroedGrains: 4,
  compressed: 1 << 16,
  markers: 1 << 17,
} as const;
const KNOWN_FLAGS = Object.values(FLAG).reduce((all, flag) => all | flag, 0);

const NEWLINES = Buffer.from([0x0a, 0x20, 0x0d, 0x0a]);
const DIRECTORY_AT_END = 0xffff_ffff_ffff_ffffn;

/** Where it says that the extent was not closed. */
const UNCLEAN_OFFSET = 72;

/** Their bytes are exact numbers. */
const SECTORS_END = 2n ** 44n;
const GRAIN_SECTORS_MAX = 2 ** 21;
const ENTRIES_PER_TABLE_MAX = 512;
const TABLES_MAX = 32 * 2 ** 20;
/** A compressed grain is decompressed as a whole, in memory: 2 MiB. */
const COMPRESSED_GRAIN_SECTORS_MAX = 4096;
/** 1 MiB, as for a descriptor of its own. */
const DESCRIPTOR_SECTORS_MAX = 2048;

export interface SparseHeader {
  readonly version: number;
  readonly hasZeroedGrains: boolean;
  readonly isCompressed: boolean;
  readonly hasMarkers: boolean;
  /** Flags that have no meaning known here. */
  readonly unknownFlags: number;
  /** What the guest sees of this extent. */
  readonly capacitySectors: number;
  readonly grainSectors: number;
  /** 0 without a descriptor. */
  readonly descriptorSector: number;
  readonly descriptorSectors: number;
  readonly entriesPerTable: number;
  /** 0 where there is no redundant copy, or where the flags say not to use it. */
  readonly redundantDirectorySector: number;
  /** Undefined when the directory is where the footer says. */
  readonly directorySector: number | undefined;
  readonly overheadSectors: number;
  /** It was not closed: entries may differ from their redundant copies. */
  readonly isUnclean: boolean;
}

/** What says how many grain tables there are. */
type TableLayout = Pick<SparseHeader, 'capacitySectors' | 'grainSectors' | 'entriesPerTable'>;

/** Grain tables that the capacity needs; surplus ones are of no meaning. */
export function tableCount({ capacitySectors, grainSectors, entriesPerTable }: TableLayout) {
  return Math.ceil(capacitySectors / (grainSectors * entriesPerTable));
}

/** Sectors of the directory that names those tables. */
export function directorySectors(layout: TableLayout): number {
  return Math.ceil((tableCount(layout) * 4) / SECTOR_BYTES);
}

/** The header in `bytes`, which lie at `offset` of the file `name`; refused unless it can be. */
export function parseSparseHeader(bytes: Buffer, name: string, offset: number): SparseHeader {
  const fail = (at: number, cause: string) => damaged(name, offset + at, cause);
  const sectors = (at: number, what: string): number => {
    const value = bytes.readBigUInt64LE(at);
    if (value < SECTORS_END) return Number(value);
    throw fail(at, `${value} sectors as ${what} are too many`);
  };
  if (bytes.length < HEADER_BYTES) throw fail(0, `${bytes.length} bytes hold no header`);
  if (bytes.toString('latin1', 0, 4) !== SPARSE_MAGIC) throw fail(0, 'no header begins here');
  const version = bytes.readUInt32LE(4);
  if (version < 1 || version > 3) {
    throw unsupported(
      name,
      offset + 4,
      `it is VMDK of version ${version}`,
      'convert it to version 1',
    );
  }
  const flags = bytes.readUInt32LE(8);
  if (flags & FLAG.newlineTest && bytes.compare(NEWLINES, 0, 4, 73, 77) !== 0) {
    throw fail(73, 'its line ends were changed, as by a transfer as text');
  }
  const isCompressed = (flags & FLAG.compressed) !== 0;
  const compression = bytes.readUInt16LE(77);
  if (compression > 1 || (isCompressed && compression !== 1)) {
    const cause = `its compression has the unknown number ${compression}`;
    throw unsupported(name, offset + 77, cause, 'convert it with the program that wrote it');
  }
  const directory = bytes.readBigUInt64LE(56);
  const header: SparseHeader = {
    version,
    hasZeroedGrains: (flags & FLAG.zeroedGrains) !== 0,
    isCompressed,
    hasMarkers: (flags & FLAG.markers) !== 0,
    unknownFlags: (flags & ~KNOWN_FLAGS) >>> 0,
    capacitySectors: sectors(12, 'its capacity'),
    grainSectors: sectors(20, 'the size of a grain'),
    descriptorSector: sectors(28, 'the place of its descriptor'),
    descriptorSectors: sectors(36, 'the length of its descriptor'),
    entriesPerTable: bytes.readUInt32LE(44),
    redundantDirectorySector:
      flags & FLAG.redundantDirectory ? sectors(48, 'the place of its redundant directory') : 0,
    directorySector:
      directory === DIRECTORY_AT_END ? undefined : sectors(56, 'the place of its directory'),
    overheadSectors: sectors(64, 'its overhead'),
    isUnclean: bytes[UNCLEAN_OFFSET] === 1,
  };
  checkGeometry(header, fail);
  return header;
}

function checkGeometry(header: SparseHeader, fail: (at: number, cause: string) => Error): void {
  const { grainSectors, entriesPerTable, capacitySectors, descriptorSectors } = header;
  const isPower = grainSectors > 0 && Number.isInteger(Math.log2(grainSectors));
  if (!isPower || grainSectors < 8 || grainSectors > GRAIN_SECTORS_MAX) {
    const rule = `not a power of two from 8 to ${GRAIN_SECTORS_MAX}`;
    throw fail(20, `a grain of ${grainSectors} sectors is ${rule}`);
  }
  if (header.isCompressed && grainSectors > COMPRESSED_GRAIN_SECTORS_MAX) {
    const rule = `more than ${COMPRESSED_GRAIN_SECTORS_MAX}`;
    throw fail(20, `a compressed grain of ${grainSectors} sectors is ${rule}`);
  }
  if (entriesPerTable < 1 || entriesPerTable > ENTRIES_PER_TABLE_MAX) {
    throw fail(
      44,
      `${entriesPerTable} entries in a grain table are not 1 to ${ENTRIES_PER_TABLE_MAX}`,
    );
  }
  if (capacitySectors === 0) {
    throw fail(12, 'it holds no sectors, and a descriptor in it may not lead to other files');
  }
  if (tableCount(header) > TABLES_MAX) {
    throw fail(12, `${capacitySectors} sectors need ${tableCount(header)} grain tables, too many`);
  }
  if (descriptorSectors > DESCRIPTOR_SECTORS_MAX) {
    throw fail(36, `a descriptor of ${descriptorSectors} sectors is longer than 1 MiB`);
  }
}

/** The header as it is written; `directorySector` undefined points to the footer. */
export function encodeSparseHeader(header: SparseHeader): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  let flags: number = FLAG.newlineTest;
  if (header.redundantDirectorySector !== 0) flags |= FLAG.redundantDirectory;
  if (header.hasZeroedGrains) flags |= FLAG.zeroedGrains;
  if (header.isCompressed) flags |= FLAG.compressed;
  if (header.hasMarkers) flags |= FLAG.markers;
  const { directorySector } = header;
  bytes.write(SPARSE_MAGIC, 0, 'latin1');
  bytes.writeUInt32LE(header.version, 4);
  bytes.writeUInt32LE(flags, 8);
  bytes.writeBigUInt64LE(BigInt(header.capacitySectors), 12);
  bytes.writeBigUInt64LE(BigInt(header.grainSectors), 20);
  bytes.writeBigUInt64LE(BigInt(header.descriptorSector), 28);
  bytes.writeBigUInt64LE(BigInt(header.descriptorSectors), 36);
  bytes.writeUInt32LE(header.entriesPerTable, 44);
  bytes.writeBigUInt64LE(BigInt(header.redundantDirectorySector), 48);
  const directory = directorySector === undefined ? DIRECTORY_AT_END : BigInt(directorySector);
  bytes.writeBigUInt64LE(directory, 56);
  bytes.writeBigUInt64LE(BigInt(header.overheadSectors), 64);
  bytes[UNCLEAN_OFFSET] = header.isUnclean ? 1 : 0;
  NEWLINES.copy(bytes, 73);
  bytes.writeUInt16LE(header.isCompressed ? 1 : 0, 77);
  return bytes;
}

/** Says of an extent on the storage that what it was found with is mended. */
export async function markClean(storage: ResizableStorage): Promise<void> {
  await storage.write(Buffer.alloc(1), 0, 1, UNCLEAN_OFFSET);
  await storage.sync();
}
