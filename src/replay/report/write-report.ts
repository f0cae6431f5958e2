/** A report as a folder of files, which is there whole or not at all. */

import { randomUUID } from 'node:crypto';
import { lstat, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { kindOfSystemError, systemErrorCode, TmemError } from '../../lib/errors.ts';
import { csvFilesOf } from './csv.ts';
import { htmlOf } from './html/page.ts';
import type { ReplayReport } from './report.ts';

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
    throw new TmemError(
      kindOfSystemError(cause),
      `the report cannot be written to ${folder}: ${reasonOf(cause)}`,
      { cause, context: { path: folder } },
    );
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message.replace(/\.$/, '') : String(cause);
}

/** Throws a usage error if there is anything by that name, or no folder to make it in. */
export async function refuseExisting(folder: string): Promise<void> {
  const has = async (file: string): Promise<boolean> => {
    try {
      await lstat(file);
      return true;
    } catch (cause) {
      if (systemErrorCode(cause) === 'ENOENT') return false;
      throw new TmemError(
        kindOfSystemError(cause),
        `--out: ${file} cannot be looked at: ${reasonOf(cause)}`,
        { cause },
      );
    }
  };
  if (await has(folder)) {
    throw new TmemError(
      'busy',
      `--out: ${folder} exists; name a folder that does not, or remove it`,
    );
  }
  const parent = path.dirname(folder);
  if (!(await has(parent))) {
    throw new TmemError('not-found', `--out: there is no folder ${parent} to make the report in`);
  }
}
