/** The compressed grains of a stream: that each has its marker, and that none lies over another. */

import type { Storage } from '../../../storage/storage.ts';
import type { Findings } from '../../check/findings.ts';
import { readPadded } from '../../tables/read-padded.ts';
import { ZERO } from '../extents/grain-tables.ts';
import { fixedRuns } from '../scan/occupied.ts';
import { isPossibleEntry } from '../scan/reconcile.ts';
import { SectorRuns } from '../scan/sector-runs.ts';
import { scanTables } from '../scan/table-scan.ts';
import { GRAIN_MARKER_BYTES } from '../structures/markers.ts';
import { SECTOR_BYTES } from '../structures/sparse-header.ts';
import type { SparseLayout } from '../structures/vmdk-file.ts';

/** Markers that are read at once. */
const BATCH = 32;

export interface MarkerCheckParts {
  readonly storage: Storage;
  readonly layout: SparseLayout;
  readonly tables: SectorRuns;
  readonly findings: Findings;
  readonly signal: AbortSignal | undefined;
}

/** Reads the marker of every grain, nothing else of it. */
export async function checkMarkers(parts: MarkerCheckParts): Promise<void> {
  const { storage, layout, tables, findings, signal } = parts;
  const { entriesPerTable } = layout;
  const grainCount = Math.ceil(layout.capacitySectors / layout.grainSectors);
  const begins = new SectorRuns(1);
  const ends = new SectorRuns(1);
  const occupy = (begin: number, sectors: number) => {
    begins.add(begin);
    ends.add(begin + sectors);
  };
  for (const { begin, sectors } of fixedRuns(layout)) occupy(begin, sectors);
  for (const sector of tables.sorted()) occupy(sector, tables.length);
  const check = async (grain: number, sector: number) => {
    const length = await storedBytesOf(storage, layout, grain, sector, findings);
    if (length !== undefined) occupy(sector, Math.ceil(length / SECTOR_BYTES));
  };
  await scanTables(
    storage,
    layout,
    async (index, { entries }) => {
      let batch: Promise<void>[] = [];
      for (let i = 0; entries !== undefined && i < entriesPerTable; i++) {
        const grain = index * entriesPerTable + i;
        const sector = entries.readUInt32LE(i * 4);
        const isGrain = sector > ZERO && isPossibleEntry(sector, layout, storage.sizeBytes);
        if (grain >= grainCount || !isGrain) continue;
        batch.push(check(grain, sector));
        if (batch.length < BATCH) continue;
        await Promise.all(batch);
        batch = [];
      }
      await Promise.all(batch);
    },
    signal,
  );
  reportOverlap(storage, begins, ends, findings);
}

/** How many bytes the grain takes with its marker; undefined, and a finding, when that is wrong. */
async function storedBytesOf(
  storage: Storage,
  layout: SparseLayout,
  grain: number,
  sector: number,
  findings: Findings,
): Promise<number | undefined> {
  const marker = Buffer.alloc(GRAIN_MARKER_BYTES);
  const offset = sector * SECTOR_BYTES;
  await readPadded(storage, marker, 0, marker.length, offset);
  const found = marker.readBigUInt64LE(0);
  const wanted = grain * layout.grainSectors;
  const where = `the marker at offset ${offset} of "${storage.name}"`;
  if (found !== BigInt(wanted)) {
    findings.corruption(`${where} is of the grain at sector ${found}, not ${wanted}`, false);
    return undefined;
  }
  const length = marker.readUInt32LE(8) + GRAIN_MARKER_BYTES;
  const isPossible =
    length > GRAIN_MARKER_BYTES && length <= 2 * layout.grainSectors * SECTOR_BYTES;
  if (isPossible && offset + length <= storage.sizeBytes) return length;
  findings.corruption(`${where} says ${length - GRAIN_MARKER_BYTES} bytes, which cannot be`, false);
  return undefined;
}

/**
 * Runs lie apart exactly if each ends before the next begins, also when begins and ends are sorted
 * each by themselves.
 */
function reportOverlap(
  storage: Storage,
  begins: SectorRuns,
  ends: SectorRuns,
  findings: Findings,
): void {
  const sortedBegins = begins.sorted();
  const sortedEnds = ends.sorted();
  for (let i = 1; i < sortedBegins.length; i++) {
    const begin = sortedBegins[i] ?? 0;
    if ((sortedEnds[i - 1] ?? 0) <= begin) continue;
    const where = `at offset ${begin * SECTOR_BYTES} of "${storage.name}"`;
    findings.corruption(`a grain or a table lies over another one ${where}`, false);
    return;
  }
}
