/** What lies on the file of an extent beside its grains: header, descriptor, directories, tables. */

import type { Storage } from '../../../storage/storage.ts';
import { damaged } from '../structures/damage.ts';
import { directorySectors, SECTOR_BYTES } from '../structures/sparse-header.ts';
import type { SparseLayout } from '../structures/vmdk-file.ts';
import { SectorRuns } from './sector-runs.ts';
import { scanDirectories, tableSectorsOf } from './table-scan.ts';

/** A structure that there is once. */
export interface FixedRun {
  readonly what: string;
  readonly begin: number;
  readonly sectors: number;
}

/** The structures that the header names. */
export function fixedRuns(layout: SparseLayout): FixedRun[] {
  const sectors = directorySectors(layout);
  const { directorySector, redundantDirectorySector, descriptorSector } = layout;
  const runs = [
    { what: 'header', begin: 0, sectors: 1 },
    { what: 'descriptor', begin: descriptorSector, sectors: layout.descriptorSectors },
    { what: 'grain directory', begin: directorySector, sectors },
    { what: 'redundant directory', begin: redundantDirectorySector, sectors },
  ];
  return runs.filter(({ begin, sectors }, index) => sectors > 0 && (index === 0 || begin > 0));
}

/** Two structures that lie over each other, with the first sector of the second. */
export interface Overlap {
  readonly what: string;
  readonly sector: number;
}

/** Of all structures; the answer is about the first 1,000 at most. */
export function overlapsOf(fixed: readonly FixedRun[], tables: SectorRuns): Overlap[] {
  const found: Overlap[] = [];
  for (const [index, run] of fixed.entries()) {
    const { what, begin, sectors } = run;
    const other = fixed.slice(0, index).find((each) => {
      return each.begin < begin + sectors && begin < each.begin + each.sectors;
    });
    if (other !== undefined)
      found.push({ what: `the ${what} lies over the ${other.what}`, sector: begin });
    const table = tables.find(begin, sectors);
    if (table !== undefined)
      found.push({ what: `a grain table lies over the ${what}`, sector: table });
  }
  for (const sector of tables.overlapping(1000)) {
    found.push({ what: 'a grain table lies over another one', sector });
  }
  return found;
}

/**
 * Refuses an extent whose tables cannot be written without writing over something else: both copies
 * of each are somewhere in the file, and nothing else is there.
 */
export async function checkPlacesForWriting(storage: Storage, layout: SparseLayout): Promise<void> {
  const { overheadSectors, grainSectors } = layout;
  // New grains go behind it: the file would jump there.
  if (overheadSectors > storage.sizeBytes / SECTOR_BYTES + grainSectors) {
    const cause = `its overhead of ${overheadSectors} sectors ends behind the end of the file`;
    throw damaged(storage.name, 64, cause);
  }
  const tables = new SectorRuns(tableSectorsOf(layout));
  await scanDirectories(storage, layout, (_index, offset, isInside) => {
    if (!isInside) {
      throw damaged(storage.name, offset, 'a grain table is said to be there, not inside the file');
    }
    if (offset > 0) tables.add(offset / SECTOR_BYTES);
  });
  const [overlap] = overlapsOf(fixedRuns(layout), tables);
  if (overlap === undefined) return;
  throw damaged(storage.name, overlap.sector * SECTOR_BYTES, overlap.what);
}
