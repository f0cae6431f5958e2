/** Checking and mending qcow2 images; what mends is loaded when there is something to mend. */

import { TmemError } from '../../../lib/errors.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import type { CheckFinding, CheckOptions, CheckReport } from '../../format.ts';
import { has } from '../structures/header.ts';
import { HeaderFile } from '../structures/header-file.ts';
import { FIELD, INCOMPATIBLE } from '../structures/layout.ts';
import { type CheckPass, checkPass } from './pass.ts';

/** See `FormatDriver.check`. Files that the image names are not opened: nothing in them matters. */
export async function checkQcow2(
  storage: ResizableStorage,
  options: CheckOptions,
): Promise<CheckReport> {
  const before = await checkPass(storage, options);
  const { repair } = options;
  if (repair === undefined) return reportOf(before, before);
  if (storage.isReadOnly) {
    const advice = 'open it for writing to repair it';
    throw new TmemError('read-only', `"${storage.name}" is open for reading only; ${advice}`);
  }
  await new HeaderFile(storage, before.header).clearAutoclear(true);
  let after = before;
  if (!before.findings.isClean) {
    if (repair === 'leaks') await giveBack(storage, before);
    else await mend(storage, before, options);
    after = await checkPass(storage, options);
  }
  if (after.findings.isClean) await clearMarks(storage, after);
  return reportOf(before, after);
}

/**
 * Counts the references of an image anew that was not cleanly closed, and clears its dirty bit.
 * Rejects with a TmemError `io` when there is damage that this does not mend: open it read-only.
 */
export async function repairRefcounts(storage: ResizableStorage): Promise<CheckReport> {
  const openFile = () => Promise.reject(new Error('a check opens no other file'));
  const report = await checkQcow2(storage, { repair: 'all', openFile });
  if (report.corruptions === 0 && report.leaks === 0 && report.errors === 0) return report;
  const found = report.findings.find(({ isRepaired }) => !isRepaired)?.message ?? 'damage';
  const advice = 'run "tmem image check" on it, or open it read-only';
  throw new TmemError(
    'io',
    `"${storage.name}" was not closed and cannot be mended: ${found}; ${advice}`,
    { context: { image: storage.name } },
  );
}

/**
 * Leaked space is given back, unless what could not be read may be using it, or the counts lie where
 * something else does, which writing them would destroy. Then the entry of what has one reference
 * left is no longer flagged as shared, which was right before; a crash may have come in between.
 */
async function giveBack(storage: ResizableStorage, pass: CheckPass): Promise<void> {
  if (pass.findings.isIncomplete || pass.stored.isBroken) return;
  const { setFlags } = await import('./repair-tables.ts');
  const { correctRefcounts } = await import('./repair-refcounts.ts');
  await correctRefcounts(storage, pass, true);
  await storage.sync();
  await setFlags(storage, pass, true);
  await storage.sync();
}

/** Entries first, since references follow from them, then refcounts, then flags. */
async function mend(
  storage: ResizableStorage,
  before: CheckPass,
  options: CheckOptions,
): Promise<void> {
  const { mendEntries, setFlags } = await import('./repair-tables.ts');
  const { correctRefcounts, rebuildRefcounts } = await import('./repair-refcounts.ts');
  let pass = before;
  if (pass.walk.mendable > 0 && (await mendEntries(storage, pass)) > 0) {
    await storage.sync();
    pass = await checkPass(storage, { signal: options.signal });
  }
  // Counts from a walk that saw not everything would free what is in use.
  if (pass.findings.isIncomplete) return;
  // New ones behind the end of the file would lie, and have others lie, where entries still lead.
  if (pass.stored.isBroken && pass.hasLost) return;
  if (pass.stored.isBroken) await rebuildRefcounts(storage, pass);
  else if (pass.wrongCounts > 0) await correctRefcounts(storage, pass, false);
  await storage.sync();
  await setFlags(storage, pass, false);
  await storage.sync();
}

/** The dirty and the corrupt bit: the image is neither. */
async function clearMarks(storage: ResizableStorage, { header }: CheckPass): Promise<void> {
  if (!has(header, 'dirty') && !has(header, 'corrupt')) return;
  const bytes = Buffer.alloc(8);
  const cleared = ~(INCOMPATIBLE.dirty | INCOMPATIBLE.corrupt);
  bytes.writeBigUInt64BE(header.incompatible & cleared);
  await storage.write(bytes, 0, bytes.length, FIELD.incompatible);
  await storage.sync();
}

function reportOf(before: CheckPass, after: CheckPass): CheckReport {
  const { findings, header, geometry, walk } = after;
  const fixed = (was: number, is: number) => Math.max(0, was - is);
  return {
    formatName: 'qcow2',
    corruptions: findings.corruptions,
    leaks: findings.leaks,
    errors: findings.errors,
    corruptionsFixed: fixed(before.findings.corruptions, findings.corruptions),
    leaksFixed: fixed(before.findings.leaks, findings.leaks),
    totalUnits: Math.ceil(header.sizeBytes / header.clusterBytes),
    allocatedUnits: walk.totals.allocated,
    compressedUnits: walk.totals.compressed,
    fragmentedUnits: walk.totals.fragmented,
    imageEndOffset: after.usedClusters * geometry.clusterBytes,
    findings: before === after ? findings.said : merged(before, after),
  };
}

/** What was found at first, and whether it is found still. */
function merged(before: CheckPass, after: CheckPass): CheckFinding[] {
  const left = new Set(after.findings.said.map(({ message }) => message));
  const first = before.findings.said.map((finding) => {
    return { ...finding, isRepaired: !left.has(finding.message) };
  });
  const known = new Set(first.map(({ message }) => message));
  const later = after.findings.said.filter(({ message }) => !known.has(message));
  return [...first, ...later].slice(0, 1000);
}
