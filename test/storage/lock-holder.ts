/** Another process that has a file locked. */

import { spawn } from 'node:child_process';
import { onTestFinished } from 'vitest';

/** The program that it is: flock(1), of util-linux. */
export const FLOCK_PROGRAM = 'flock';

/** Another process that holds a lock on `file`: `stop` ends it and waits until it has. */
export async function holder(file: string, kind: '--shared' | '--exclusive') {
  // flock(1) keeps the descriptor open over the program that it becomes, which says it is there.
  const script = 'echo locked; exec sleep 60';
  const child = spawn(FLOCK_PROGRAM, [kind, '--no-fork', file, 'sh', '-c', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  onTestFinished(stop);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return { pid: child.pid ?? 0, stop };
}
