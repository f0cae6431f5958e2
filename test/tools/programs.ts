/** The programs of others that tests drive this server with: found, run, and ended in time. */

import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { beforeEach } from 'vitest';

/** What the note of a test begins with that was skipped; the names of the programs follow. */
export const LEFT_OUT = 'left out for want of ';
export const INSTALL_ADVICE = 'install them with scripts/install-test-tools';

/** How long a program may take before it is killed, milliseconds: far longer than any needs. */
const PATIENCE_MS = 45_000;

/**
 * The system's folders come first: nbdsh is a script for the Python that its module was built for,
 * and version managers put another before it.
 */
export const PROGRAM_PATH = ['/usr/bin', '/usr/sbin', process.env.PATH ?? ''].join(delimiter);

/** How a program ended, and all it wrote. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly directory?: string;
  readonly patienceMs?: number;
}

function isInstalled(program: string): boolean {
  return PROGRAM_PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Leaves the running test out where one of `programs` is missing, to be listed at the end. On a
 * machine that tests every change it fails instead. `skip` is of the test's context.
 */
export function leaveOutWithout(skip: (note: string) => void, ...programs: string[]): void {
  const missing = programs.filter((program) => !isInstalled(program));
  if (missing.length === 0) return;
  const note = LEFT_OUT + missing.join(', ');
  if (process.env.CI === 'true') throw new Error(`${note}; ${INSTALL_ADVICE}`);
  skip(note);
}

/** The same for every test of the file or of the block that this is called in. */
export function needsPrograms(...programs: string[]): void {
  beforeEach(({ skip }) => leaveOutWithout(skip, ...programs));
}

/** Runs a program to its end, whatever that is; one that does not end is killed. */
export function runProgram(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, PATH: PROGRAM_PATH, LC_ALL: 'C', ...options.env },
      cwd: options.directory,
      timeout: options.patienceMs ?? PATIENCE_MS,
      killSignal: 'SIGKILL',
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.once('error', reject);
    child.once('close', (code, signal) => {
      const text = (chunks: Buffer[]) => Buffer.concat(chunks).toString('utf8');
      resolve({ code, signal, stdout: text(stdout), stderr: text(stderr) });
    });
  });
}

/** Runs a program that must succeed; answers what it wrote to stdout. */
export async function runWell(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const ended = await runProgram(program, args, options);
  if (ended.code === 0) return ended.stdout;
  const how = ended.signal ?? `code ${ended.code}`;
  throw new Error(`${program} ${args.join(' ')} ended with ${how}\n${ended.stderr}${ended.stdout}`);
}
