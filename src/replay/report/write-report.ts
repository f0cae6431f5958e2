/** A report as a folder of files, which is there whole or not at all. */

import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { kindOfSystemError, TmemError, writeAdvice } from '../../lib/errors.ts';
import { csvFilesOf } from './csv.ts';
import { htmlOf } from './html/page.ts';
import type { ReplayReport } from './report.ts';
import { reasonOf, refuseExisting } from './report-folder.ts';

/** The files of a report, by name. */
function filesOf(report: ReplayReport): { readonly name: string; readonly text: string }[] {
  return [
    { name: 'report.html', text: htmlOf(report) },
    { name: 'report.json', text: `${JSON.stringify(report, null, 1)}\n` },
    ...csvFilesOf(report),
  ];
}

/**
 * Writes `report.html`, `report.json` and CSV files into `folder`, which must not exist. They are
 * written into a folder beside it that gets the name when they are all there; on any failure that
 * one is removed.
 */
export async function writeReport(report: ReplayReport, folder: string): Promise<void> {
  await refuseExisting(folder);
  const files = filesOf(report);
  const unfinished = path.join(path.dirname(folder), `.${path.basename(folder)}-${randomUUID()}`);
  try {
    // Not by mkdtemp, whose folders nobody else may look into.
    await mkdir(unfinished);
    for (const { name, text } of files) await writeFile(path.join(unfinished, name), text);
    await refuseExisting(folder);
    await rename(unfinished, folder);
  } catch (cause) {
    // What went wrong first is what counts.
    await rm(unfinished, { recursive: true, force: true }).catch(() => undefined);
    if (cause instanceof TmemError) throw cause;
    const kind = kindOfSystemError(cause);
    // Its directory was there: of a file system that makes none (/proc) the system says that it is not.
    const advice = kind === 'not-found' ? 'name another path' : writeAdvice(kind);
    throw new TmemError(
      kind,
      `the report cannot be written to ${folder}: ${reasonOf(cause)}; ${advice}`,
      { cause, context: { path: folder } },
    );
  }
}
