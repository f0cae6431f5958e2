/**
 * Checking a QED image while it is served, which is natural where allocation only appends: all that
 * is younger than the check lies behind the end that the file had when it began, or in space that no
 * table had named.
 */

import type { AppendedDisk } from '../appended/disk.ts';
import { ENTRY_BYTES } from '../appended/layout.ts';
import { Findings } from '../check/findings.ts';
import type { CheckReport, OnlineCheckOptions } from '../format.ts';
import { QedWalk } from './walk.ts';

/** Reads tables past the cache, which stays the guest's, and holds nobody up. Repairs nothing. */
export async function checkOnline(
  disk: AppendedDisk,
  options: OnlineCheckOptions,
): Promise<CheckReport> {
  const { storage, layout, space, tables } = disk;
  const { unitBytes } = layout;
  // Taken in one moment: what is given out and named by no table yet, or to be given out, is no leak.
  const limit = Math.min(space.end, Math.floor(storage.sizeBytes / unitBytes) * unitBytes);
  const { unnamed } = space;
  // From then on the storage has every entry that was set before that moment.
  await tables.flush();
  const findings = new Findings();
  const walk = new QedWalk({
    storage,
    clusterBytes: unitBytes,
    tableBytes: layout.entriesPerTable * ENTRY_BYTES,
    headerBytes: layout.headerBytes,
    l1Offset: layout.l1Offset,
    limit,
    dataLimit: limit,
    isOnline: true,
    repairs: false,
    findings,
    onProgress: options.onProgress,
    signal: options.signal,
  });
  await walk.run();
  const { used } = walk;
  for (const run of unnamed) if (run.offset < limit) used.mark(run.offset, run.length);
  const leaks = used.count - used.usedCount;
  if (leaks > 0) findings.leak(`${leaks} clusters are in no table`, leaks, false);
  const totalUnits = Math.ceil(disk.virtualSizeBytes / unitBytes);
  return findings.report('qed', totalUnits, limit);
}
