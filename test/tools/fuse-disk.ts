/** An image as a file of a file system in user space: it may hang, and its times never change. */

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { onTestFinished } from 'vitest';
import { PROGRAM_PATH } from './programs.ts';
import { until } from './until.ts';

/** What a test of these disks needs. */
export const FUSE_PROGRAMS = ['nbdfuse', 'nbdkit'];

interface FuseDisk {
  readonly file: string;
  /** Until it is told to go on, no request of the disk is answered. */
  hang(): void;
  goOn(): void;
}

/** The image of that many bytes as such a file; undefined where this user may mount none. */
export async function fuseDisk(image: string, sizeBytes: number): Promise<FuseDisk | undefined> {
  const file = path.join(path.dirname(image), 'fuse.raw');
  fs.writeFileSync(file, '');
  const command = ['--command', 'nbdkit', '-s', '--exit-with-parent', 'file', image];
  const child = spawn('nbdfuse', [file, ...command], {
    stdio: 'ignore',
    env: { ...process.env, PATH: PROGRAM_PATH },
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const isMounted = () => fs.statSync(file).size === sizeBytes;
  await until(() => isMounted() || child.exitCode !== null);
  if (child.exitCode !== null) return;
  onTestFinished(async () => {
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    await ended;
  });
  return {
    file,
    hang: () => void child.kill('SIGSTOP'),
    goOn: () => void child.kill('SIGCONT'),
  };
}
