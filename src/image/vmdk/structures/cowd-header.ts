/**
 * The header of an ESX redo log, "COWD": 2048 bytes, little endian, as libvmdk documents it. It is
 * read only: its tables are the hosted ones with 4096 entries and without copies.
 */

import type { Storage } from '../../../storage/storage.ts';
import { damaged } from './damage.ts';
import { SECTOR_BYTES } from './sparse-header.ts';
import { readExactly, type SparseLayout } from './vmdk-file.ts';

const COWD_HEADER_BYTES = 2048;
const ENTRIES_PER_TABLE = 4096;
/** 1 MiB; ESX uses one sector. */
const GRAIN_SECTORS_MAX = 2048;

/** What the header leads to, in the words of a hosted sparse extent. */
export async function readCowdLayout(storage: Storage): Promise<SparseLayout> {
  const { name } = storage;
  const bytes = await readExactly(storage, 0, COWD_HEADER_BYTES, 'the header of an extent');
  if (bytes.toString('latin1', 0, 4) !== 'COWD') {
    throw damaged(name, 0, 'no header of an extent of VMFS begins here');
  }
  const [version, , capacitySectors = 0, grainSectors = 0, directorySector = 0] = Array.from(
    { length: 5 },
    (_, index) => bytes.readUInt32LE(4 + 4 * index),
  );
  if (version !== 1) throw damaged(name, 4, `${version} is no version of it`);
  if (capacitySectors === 0) throw damaged(name, 12, 'it holds no sectors');
  const isPower = grainSectors > 0 && Number.isInteger(Math.log2(grainSectors));
  if (!isPower || grainSectors > GRAIN_SECTORS_MAX) {
    throw damaged(name, 16, `a grain of ${grainSectors} sectors is no power of two up to 1 MiB`);
  }
  const tables = Math.ceil(capacitySectors / (grainSectors * ENTRIES_PER_TABLE));
  const directoryOffset = directorySector * SECTOR_BYTES;
  if (directorySector === 0 || directoryOffset + tables * 4 > storage.sizeBytes) {
    throw damaged(name, 20, `the grain directory at sector ${directorySector} is not in the file`);
  }
  return {
    ...{
      version,
      capacitySectors,
      grainSectors,
      directorySector,
      overheadSectors: directorySector,
    },
    ...{ hasZeroedGrains: false, isCompressed: false, hasMarkers: false, unknownFlags: 0 },
    ...{ descriptorSector: 0, descriptorSectors: 0, entriesPerTable: ENTRIES_PER_TABLE },
    ...{ redundantDirectorySector: 0, isUnclean: false },
  };
}
