/**
 * Grains that a table names and the file of the extent does not have: it was cut. New grains go to
 * its end, where such an entry would show them at another place of the disk. Nothing but the entries
 * themselves can tell.
 */

import type { Storage } from '../../../storage/storage.ts';
import type { LostGrain } from '../extents/grain-allocation.ts';
import { ZERO } from '../extents/grain-tables.ts';
import { SECTOR_BYTES } from '../structures/sparse-header.ts';
import type { SparseLayout } from '../structures/vmdk-file.ts';
import { scanTables } from './table-scan.ts';

/** The first place from `endOffset` on, where new grains go, that is named; undefined for none. */
export async function findLostGrain(
  storage: Storage,
  layout: SparseLayout,
  endOffset: number,
): Promise<LostGrain | undefined> {
  const { capacitySectors, grainSectors, entriesPerTable } = layout;
  const endSector = endOffset / SECTOR_BYTES;
  let found: LostGrain | undefined;
  const plain = { ...layout, redundantDirectorySector: 0 };
  await scanTables(storage, plain, (index, { offset, entries }) => {
    if (entries === undefined) return;
    const first = index * entriesPerTable;
    for (let i = 0; i < entriesPerTable; i++) {
      const entry = entries.readUInt32LE(i * 4);
      // Of the last grain, files of others may have no more than the disk needs.
      const sectors = Math.min(grainSectors, capacitySectors - (first + i) * grainSectors);
      if (entry <= ZERO || sectors <= 0 || entry + sectors <= endSector) continue;
      const fileOffset = Math.max(entry, endSector) * SECTOR_BYTES;
      if (found !== undefined && found.fileOffset <= fileOffset) continue;
      found = { fileOffset, entryOffset: offset + i * 4 };
    }
  });
  return found;
}
