/**
 * An extent that was not closed: where a grain table and its redundant copy differ, the entry is
 * taken that can be one, which is the advice of VMware's "Virtual Disk Format 5.0" for the flag of
 * an unclean shutdown.
 */

import { TmemError } from '../../../lib/errors.ts';
import type { Storage } from '../../../storage/storage.ts';
import { HOLE, ZERO } from '../extents/grain-tables.ts';
import { SECTOR_BYTES } from '../structures/sparse-header.ts';
import type { SparseLayout } from '../structures/vmdk-file.ts';
import { SectorRuns } from './sector-runs.ts';
import { scanTables } from './table-scan.ts';

/** Entries that may differ, before it is no accident any more. */
const DIFFERENCES_MAX = 65_536;

/** What the two tables say of a grain. */
interface Difference {
  readonly grain: number;
  readonly entry: number;
  readonly copy: number;
}

/** Whether an entry of a grain table may be what it is, as far as it alone can tell. */
export function isPossibleEntry(entry: number, layout: SparseLayout, sizeBytes: number): boolean {
  if (entry === HOLE) return true;
  if (entry === ZERO) return layout.hasZeroedGrains;
  return entry >= Math.max(1, layout.overheadSectors) && entry * SECTOR_BYTES < sizeBytes;
}

/** What the grains are whose two entries differ, by their number. */
export async function reconcile(
  storage: Storage,
  layout: SparseLayout,
): Promise<ReadonlyMap<number, number>> {
  const { entriesPerTable } = layout;
  const agreed = new SectorRuns(layout.grainSectors);
  const differences: Difference[] = [];
  await scanTables(storage, layout, (index, { entries }, copyTable) => {
    const copies = copyTable?.entries;
    if (entries === undefined || copies === undefined) return;
    for (let i = 0; i < entriesPerTable; i++) {
      const entry = entries.readUInt32LE(i * 4);
      const copy = copies.readUInt32LE(i * 4);
      if (entry !== copy) differences.push({ grain: index * entriesPerTable + i, entry, copy });
      else if (entry > ZERO) agreed.add(entry);
    }
    if (differences.length > DIFFERENCES_MAX) throw tooDifferent(storage.name);
  });
  const isGood = (entry: number) =>
    isPossibleEntry(entry, layout, storage.sizeBytes) &&
    (entry <= ZERO || agreed.find(entry, layout.grainSectors) === undefined);
  return chooseEntries(differences, isGood);
}

/** The entry that says most of those that can be; each place is given to one grain only. */
function chooseEntries(
  differences: readonly Difference[],
  isGood: (entry: number) => boolean,
): Map<number, number> {
  const chosen = new Map<number, number>();
  const taken = new Set<number>();
  for (const { grain, entry, copy } of differences) {
    const candidates = [entry, copy].filter((each) => isGood(each) && !taken.has(each));
    const choice = candidates.find((each) => each > HOLE) ?? HOLE;
    if (choice > ZERO) taken.add(choice);
    chosen.set(grain, choice);
  }
  return chosen;
}

function tooDifferent(name: string): TmemError {
  const cause = `more than ${DIFFERENCES_MAX} entries differ from their redundant copies`;
  const advice = 'run "tmem image check --repair" on a copy of it';
  return new TmemError('invalid', `cannot open "${name}" as vmdk: ${cause}; ${advice}`);
}
