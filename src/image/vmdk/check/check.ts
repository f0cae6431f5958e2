/**
 * Checking a VMDK that nobody has open. qemu-img only looks whether grains begin inside the file;
 * this looks at everything that a crash or a bad writer can have left.
 */

import { TmemError } from '../../../lib/errors.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import { Findings } from '../../check/findings.ts';
import type { CheckOptions, CheckReport } from '../../format.ts';
import { type ExtentFile, openExtentFiles } from '../extents/extent-files.ts';
import { parentOf } from '../open.ts';
import { cidText } from '../structures/descriptor.ts';
import { SECTOR_BYTES, tableCount } from '../structures/sparse-header.ts';
import { readVmdkFile, type VmdkFile } from '../structures/vmdk-file.ts';
import { checkSparseExtent } from './extent.ts';

/**
 * Differences between grain tables and their copies, and grains at the end of the file that no table
 * names, count as leaks: nothing is lost by them. With `leaks` the copies are written anew from the
 * tables and the end is cut off; with `all`, entries that cannot be are taken from the copies.
 */
export async function checkVmdk(
  storage: ResizableStorage,
  options: CheckOptions,
): Promise<CheckReport> {
  const first = await checkOnce(storage, options);
  if (first.corruptionsFixed + first.leaksFixed === 0) return first;
  // What was mended may have been the cause of something else: what is left is looked for again.
  const left = await checkOnce(storage, { ...options, repair: undefined });
  const repaired = first.findings.filter(({ isRepaired }) => isRepaired);
  return {
    ...left,
    corruptionsFixed: first.corruptionsFixed,
    leaksFixed: first.leaksFixed,
    findings: [...repaired, ...left.findings].slice(0, 1000),
  };
}

async function checkOnce(storage: ResizableStorage, options: CheckOptions): Promise<CheckReport> {
  const findings = new Findings();
  const file = await readVmdkFile(storage);
  const files = await openExtentFiles(storage, file, options.openFile);
  const others = new Set(files.map((each) => each.storage));
  others.delete(storage);
  try {
    await checkParent(storage, file, options, findings);
    checkLengths(storage, file, files, findings);
    const totals = await checkExtents(files, options, findings);
    return findings.report('vmdk', totals.units, totals.endOffset);
  } finally {
    for (const other of others) await other?.close();
  }
}

/** A parent that was written since is another one, and this image is worth nothing on it. */
async function checkParent(
  storage: ResizableStorage,
  { descriptor }: VmdkFile,
  { openFile }: CheckOptions,
  findings: Findings,
): Promise<void> {
  const reference = parentOf(descriptor);
  if (reference === undefined) return;
  let parent: ResizableStorage | undefined;
  try {
    parent = await openFile(reference);
    const { cid } = (await readVmdkFile(parent)).descriptor;
    if (cid === descriptor.parentCid || cid === descriptor.parentCidNext) return;
    const cause = `"${storage.name}" was made on a parent with the CID ${cidText(descriptor.parentCid)}`;
    const change = `"${reference.name}" has ${cidText(cid)}: it was written since`;
    findings.corruption(`${cause}, but ${change}`, false);
  } catch (cause) {
    if (!(cause instanceof TmemError)) throw cause;
    findings.error(`the parent "${reference.name}" cannot be looked at: ${cause.message}`);
  } finally {
    await parent?.close();
  }
}

/** What the descriptor says of lengths, against what the extents say. */
function checkLengths(
  storage: ResizableStorage,
  { descriptor, header }: VmdkFile,
  files: readonly ExtentFile[],
  findings: Findings,
): void {
  for (const [index, { layout }] of files.entries()) {
    const described = (descriptor.extents[index]?.lengthBytes ?? 0) / SECTOR_BYTES;
    if (layout === undefined || layout.capacitySectors === described) continue;
    const name = files[index]?.storage?.name ?? storage.name;
    const cause = `"${name}" has ${layout.capacitySectors} sectors`;
    findings.corruption(`${cause}, but the descriptor says ${described}`, false);
  }
  if (header !== undefined && descriptor.createType === 'streamOptimized' && !header.isCompressed) {
    findings.corruption(`"${storage.name}" is called a stream, but is not compressed`, false);
  }
}

async function checkExtents(
  files: readonly ExtentFile[],
  options: CheckOptions,
  findings: Findings,
): Promise<{ units: number; endOffset: number }> {
  const tables = files.map(({ layout }) => (layout === undefined ? 0 : tableCount(layout)));
  const total = 2 * tables.reduce((sum, count) => sum + count, 0);
  const totals = { units: 0, endOffset: 0 };
  let done = 0;
  for (const [index, { storage, layout }] of files.entries()) {
    if (storage === undefined || layout === undefined) continue;
    const count = tableCount(layout);
    await checkSparseExtent(storage, layout, findings, {
      repair: options.repair,
      signal: options.signal,
      onTable: (table, pass) => options.onProgress?.(done + pass * count + table, total),
    });
    done += 2 * count;
    options.onProgress?.(done, total);
    totals.units += Math.ceil(layout.capacitySectors / layout.grainSectors);
    if (index === 0) totals.endOffset = storage.sizeBytes;
  }
  return totals;
}
