/** Checking and mending a QED image that nobody has open. */

import { roundUp } from '../../lib/round-up.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import { Findings } from '../check/findings.ts';
import type { CheckOptions, CheckReport } from '../format.ts';
import { FEATURE, type QedHeader, readQedHeader, tableBytesOf } from './header.ts';
import { writeNeedCheck } from './qed.ts';
import { QedWalk } from './walk.ts';

export interface QedCheckOptions extends Pick<CheckOptions, 'repair' | 'onProgress' | 'signal'> {
  /**
   * Nobody has asked for holes: a table that is lost is not mended, and of a cluster that the file
   * ends in is kept what there is.
   */
  readonly isUnasked?: boolean;
}

/**
 * With `all`, entries that lead nowhere become holes; with either repair, leaks at the end of the
 * file are cut off, unless a table is lost that may have named them. Two references to one cluster
 * cannot be mended, and leaks in the middle stay. The mark that the image needs a check is taken away
 * when nothing is left to mend.
 */
export async function checkQed(
  storage: ResizableStorage,
  options: QedCheckOptions,
): Promise<CheckReport> {
  const header = await readQedHeader(storage);
  const { clusterBytes, headerClusters, l1Offset } = header;
  const { isUnasked = false } = options;
  const findings = new Findings();
  const limit = Math.floor(storage.sizeBytes / clusterBytes) * clusterBytes;
  const walk = new QedWalk({
    storage,
    clusterBytes,
    tableBytes: tableBytesOf(header),
    headerBytes: headerClusters * clusterBytes,
    l1Offset,
    limit,
    dataLimit: isUnasked ? roundUp(storage.sizeBytes, clusterBytes) : limit,
    isOnline: false,
    repairs: options.repair === 'all',
    keepsTables: isUnasked,
    findings,
    onProgress: options.onProgress,
    signal: options.signal,
  });
  await walk.run();
  const isSound = findings.corruptions === 0 && findings.errors === 0;
  const mayCut = options.repair !== undefined && isSound && !walk.hasLostTable;
  const end = await countLeaks(storage, header, walk, findings, mayCut);
  const isMarked = (header.features & FEATURE.needCheck) !== 0;
  if (options.repair === 'all' && isMarked && isSound) {
    await storage.sync();
    await writeNeedCheck(storage, header.features, false);
  }
  return findings.report('qed', Math.ceil(header.virtualSizeBytes / clusterBytes), end);
}

/** Leaks at the end of the file can be given back; answers where the image ends. */
async function countLeaks(
  storage: ResizableStorage,
  { clusterBytes }: QedHeader,
  { used }: QedWalk,
  findings: Findings,
  mayCut: boolean,
): Promise<number> {
  const end = used.endOfUsed;
  const tail = used.count - end;
  if (tail > 0) {
    findings.leak(`${tail} clusters from ${end * clusterBytes} on are in no table`, tail, mayCut);
  }
  const inner = end - used.usedCount;
  if (inner > 0) findings.leak(`${inner} clusters inside the file are in no table`, inner, false);
  if (!mayCut) return used.count * clusterBytes;
  // A last cluster that is kept, though the file ends in it, gets the zeros that it is read with.
  if (tail > 0 || storage.sizeBytes < end * clusterBytes) await storage.resize(end * clusterBytes);
  return end * clusterBytes;
}
