/** fio with its nbd engine: much traffic in little time, and a check of every block read. */

import fs from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { runWell } from './programs.ts';

/** One job: a connection of its own. Options as fio calls them; `true` for one without a value. */
export interface FioJob {
  readonly name: string;
  readonly uri: string;
  readonly options: Readonly<Record<string, string | number | true>>;
}

/** What a job has done. */
export interface FioResult {
  readonly name: string;
  readonly error: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
}

function argumentsOf({ name, uri, options }: FioJob): string[] {
  const pairs = Object.entries(options).map(([key, value]) =>
    value === true ? `--${key}` : `--${key}=${value}`,
  );
  return [`--name=${name}`, `--uri=${uri}`, ...pairs];
}

/** Runs the jobs at once; a block that is not what was written makes it reject. */
export async function runFio(
  directory: string,
  shared: FioJob['options'],
  jobs: readonly FioJob[],
  patienceMs?: number,
): Promise<readonly FioResult[]> {
  // Threads, since fio's processes would outlive it when it is killed. The options before the first
  // name hold for every job.
  const base = { ioengine: 'nbd', thread: true, randseed: 1, ...shared } as const;
  const [, , ...common] = argumentsOf({ name: '', uri: '', options: base });
  const output = path.join(directory, 'fio.json');
  const args = ['--output-format=json', `--output=${output}`, ...common];
  const patience = patienceMs === undefined ? {} : { patienceMs };
  await runWell('fio', [...args, ...jobs.flatMap(argumentsOf)], { directory, ...patience });
  // The engine puts a line about its connection before it.
  const text = fs.readFileSync(output, 'utf8');
  const report: {
    jobs: {
      jobname: string;
      error: number;
      read: { io_bytes: number };
      write: { io_bytes: number };
    }[];
  } = JSON.parse(text.slice(text.search(/^\{$/m)));
  expect(report.jobs.map(({ error }) => error)).toEqual(jobs.map(() => 0));
  return report.jobs.map(({ jobname, error, read, write }) => ({
    name: jobname,
    error,
    readBytes: read.io_bytes,
    writtenBytes: write.io_bytes,
  }));
}
