/** Making a VMDK, of any of the five types that qemu-img makes, with the same settings. */

import { basename } from 'node:path';
import { TmemError } from '../../../lib/errors.ts';
import { roundUp } from '../../../lib/round-up.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import type { CreateOptions } from '../../format.ts';
import { newContentId } from '../structures/content-id.ts';
import {
  directorySectors,
  encodeSparseHeader,
  POSITION_SECTORS_MAX,
  SECTOR_BYTES,
  type SparseHeader,
  tableCount,
} from '../structures/sparse-header.ts';
import { type DescriptorFields, descriptorText } from './descriptor-text.ts';
import { parseCreateSettings, type VmdkSettings } from './settings.ts';

const GRAIN_SECTORS = 128;
const ENTRIES_PER_TABLE = 512;
const TABLE_SECTORS = (ENTRIES_PER_TABLE * 4) / SECTOR_BYTES;
/** Behind the header, in a sparse extent that holds the descriptor. */
const DESCRIPTOR_SECTOR = 1;
const DESCRIPTOR_SECTORS = 20;
/** 2 GiB, for file systems that cannot do more. */
const SPLIT_SECTORS = 2 ** 22;
const SPLIT_EXTENTS_MAX = 4096;
/** 8 MiB for the directory of one extent: 32 TiB of disk. */
const TABLES_MAX = 1 << 20;
const DIRECTORY_PIECE_BYTES = 64 * 1024;

/** See `FormatDriver.create`. */
export async function createVmdk(storage: ResizableStorage, options: CreateOptions): Promise<void> {
  const settings = parseCreateSettings(options);
  const sectors = Math.ceil(options.sizeBytes / SECTOR_BYTES);
  if (sectors === 0) {
    throw new TmemError('usage', 'a vmdk image cannot hold 0 bytes; give it a size');
  }
  const name = options.fileName ?? basename(storage.name);
  if (/["\p{Cc}]/u.test(name)) {
    const cause = 'a vmdk image cannot have a quotation mark or a control character in its name';
    throw new TmemError('usage', `${cause}; choose another name`);
  }
  const made = { storage, options, settings, name, sectors };
  switch (settings.subformat) {
    case 'monolithicSparse':
      return createMonolithicSparse(made);
    case 'streamOptimized':
      return createStream(made);
    default:
      return createWithExtents(made);
  }
}

interface Wanted {
  readonly storage: ResizableStorage;
  readonly options: CreateOptions;
  readonly settings: VmdkSettings;
  readonly name: string;
  readonly sectors: number;
}

function describe(
  { options, settings, sectors }: Wanted,
  extents: DescriptorFields['extents'],
): Buffer {
  const { backing } = options;
  const text = descriptorText({
    ...settings,
    cid: newContentId(),
    parent: backing && { name: backing.name, cid: backing.parentCid ?? 0 },
    extents,
    sectors,
  });
  return Buffer.from(text, 'utf8');
}

async function createMonolithicSparse(wanted: Wanted): Promise<void> {
  const { storage, name, sectors, settings } = wanted;
  const header = newHeader(sectors, settings, true);
  const descriptor = describe(wanted, [{ sectors, type: 'SPARSE', name }]);
  await writeDescriptor(storage, descriptor);
  await writeSparseExtent(storage, header);
}

/** The begin of a stream: the tables and the footer come behind the grains. */
async function createStream(wanted: Wanted): Promise<void> {
  const { storage, name, sectors, settings } = wanted;
  const header: SparseHeader = {
    ...newHeader(sectors, settings, true),
    ...{ isCompressed: true, hasMarkers: true, overheadSectors: GRAIN_SECTORS },
    ...{ directorySector: undefined, redundantDirectorySector: 0 },
  };
  const descriptor = describe(wanted, [{ sectors, type: 'SPARSE', name }]);
  await writeDescriptor(storage, descriptor);
  await storage.resize(header.overheadSectors * SECTOR_BYTES);
  await writeAll(storage, encodeSparseHeader(header), 0);
  await storage.sync();
}

async function createWithExtents(wanted: Wanted): Promise<void> {
  const { storage, name, sectors, settings, options } = wanted;
  const { subformat } = settings;
  const isFlat = subformat === 'monolithicFlat' || subformat === 'twoGbMaxExtentFlat';
  const splitSectors = subformat === 'monolithicFlat' ? sectors : SPLIT_SECTORS;
  const count = Math.ceil(sectors / splitSectors);
  if (count > SPLIT_EXTENTS_MAX) {
    const cause = `${count} files are more than ${SPLIT_EXTENTS_MAX}`;
    throw new TmemError('usage', `cannot split "${name}": ${cause}; choose monolithicSparse`);
  }
  const type = isFlat ? ('FLAT' as const) : ('SPARSE' as const);
  const extents = Array.from({ length: count }, (_, index) => ({
    ...{ sectors: Math.min(splitSectors, sectors - index * splitSectors), type },
    name: extentName(name, subformat, index),
  }));
  for (const extent of extents) {
    const file = await options.createFile(extent.name);
    try {
      if (isFlat) {
        await file.resize(extent.sectors * SECTOR_BYTES);
        await file.sync();
      } else await writeSparseExtent(file, newHeader(extent.sectors, settings, false));
    } finally {
      await file.close();
    }
  }
  await writeAll(storage, describe(wanted, extents), 0);
  await storage.sync();
}

/** As VMware and qemu call the files of an image. */
function extentName(name: string, subformat: VmdkSettings['subformat'], index: number): string {
  const stem = name.replace(/\.vmdk$/i, '');
  if (subformat === 'monolithicFlat') return `${stem}-flat.vmdk`;
  const letter = subformat === 'twoGbMaxExtentFlat' ? 'f' : 's';
  return `${stem}-${letter}${String(index + 1).padStart(3, '0')}.vmdk`;
}

/** All tables are there from the start, one behind the other, and a copy of all in front of them. */
function newHeader(
  capacitySectors: number,
  { zeroedGrain }: VmdkSettings,
  hasDescriptor: boolean,
): SparseHeader {
  const layout = {
    capacitySectors,
    grainSectors: GRAIN_SECTORS,
    entriesPerTable: ENTRIES_PER_TABLE,
  };
  const tables = tableCount(layout);
  if (tables > TABLES_MAX) {
    const cause = `${capacitySectors * SECTOR_BYTES} bytes are more than 32 TiB`;
    throw new TmemError('usage', `${cause}; choose another format`);
  }
  // One directory with its tables is as long as the other.
  const sectors = directorySectors(layout) + tables * TABLE_SECTORS;
  const redundantDirectorySector = DESCRIPTOR_SECTOR + DESCRIPTOR_SECTORS;
  const directorySector = redundantDirectorySector + sectors;
  return {
    ...{ version: zeroedGrain ? 2 : 1, hasZeroedGrains: zeroedGrain, unknownFlags: 0 },
    ...{ isCompressed: false, hasMarkers: false, isUnclean: false },
    ...layout,
    descriptorSector: hasDescriptor ? DESCRIPTOR_SECTOR : 0,
    descriptorSectors: hasDescriptor ? DESCRIPTOR_SECTORS : 0,
    ...{ redundantDirectorySector, directorySector },
    overheadSectors: roundUp(directorySector + sectors, GRAIN_SECTORS),
  };
}

async function writeDescriptor(storage: ResizableStorage, descriptor: Buffer): Promise<void> {
  if (descriptor.length > DESCRIPTOR_SECTORS * SECTOR_BYTES) {
    const cause = `a descriptor of ${descriptor.length} bytes does not fit into it`;
    throw new TmemError('usage', `cannot make "${storage.name}": ${cause}; choose shorter names`);
  }
  const area = Buffer.alloc(DESCRIPTOR_SECTORS * SECTOR_BYTES);
  descriptor.copy(area);
  await writeAll(storage, area, DESCRIPTOR_SECTOR * SECTOR_BYTES);
}

/** Directories, tables of holes, and the header last: before it there is no image. */
async function writeSparseExtent(storage: ResizableStorage, header: SparseHeader): Promise<void> {
  const { redundantDirectorySector, directorySector = 0 } = header;
  await storage.resize(header.overheadSectors * SECTOR_BYTES);
  for (const sector of [redundantDirectorySector, directorySector]) {
    await writeDirectory(storage, sector, tableCount(header), sector + directorySectors(header));
  }
  await writeAll(storage, encodeSparseHeader(header), 0);
  await storage.sync();
}

async function writeDirectory(
  storage: ResizableStorage,
  sector: number,
  tables: number,
  firstTableSector: number,
): Promise<void> {
  const perPiece = DIRECTORY_PIECE_BYTES / 4;
  for (let first = 0; first < tables; first += perPiece) {
    const count = Math.min(perPiece, tables - first);
    const piece = Buffer.alloc(count * 4);
    for (let i = 0; i < count; i++) {
      piece.writeUInt32LE(firstTableSector + (first + i) * TABLE_SECTORS, i * 4);
    }
    await writeAll(storage, piece, sector * SECTOR_BYTES + first * 4);
  }
}

async function writeAll(storage: ResizableStorage, bytes: Buffer, offset: number): Promise<void> {
  if (offset + bytes.length > POSITION_SECTORS_MAX * SECTOR_BYTES) {
    throw new Error('vmdk: tables lie behind 2 TiB');
  }
  await storage.write(bytes, 0, bytes.length, offset);
}
