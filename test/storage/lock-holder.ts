/** Another process that has a file locked. */

import { spawn } from 'node:child_process';
import { onTestFinished } from 'vitest';

/** The program that it is: flock(1), of util-linux. */
export const FLOCK_PROGRAM = 'flock';

/** The program that holds QEMU's lock. */
export const QEMU_PROGRAM = 'qemu-io';

/** Another process that holds a lock on `file`: `stop` ends it and waits until it has. */
export function holder(file: string, kind: '--shared' | '--exclusive') {
  // flock(1) keeps the descriptor open over the program that it becomes, which says it is there.
  const script = 'echo locked; exec sleep 60';
  return started(FLOCK_PROGRAM, [kind, '--no-fork', file, 'sh', '-c', script]);
}

/** The same with QEMU's lock on a qcow2 image, as a virtual machine has it. */
export function qemuHolder(file: string, isReadOnly: boolean) {
  const access = isReadOnly ? ['--read-only'] : [];
  // It says a number when it is asked, and then waits for more to do.
  return started(QEMU_PROGRAM, [...access, '-f', 'qcow2', file], 'length\n');
}

/** The program that holds a lock on a range. */
export const RANGE_PROGRAM = 'python3';

/** The same with a lock on all bytes of the file, as network file systems have for flock(2). */
export function wholeFileHolder(file: string, kind: 'LOCK_SH' | 'LOCK_EX') {
  const script = [
    'import fcntl, sys, time',
    'file = open(sys.argv[1], "r+b")',
    `fcntl.lockf(file, fcntl.${kind})`,
    'print("locked", flush=True)',
    'time.sleep(60)',
  ];
  return started(RANGE_PROGRAM, ['-c', script.join('\n'), file]);
}

/** A process that has said something, in answer to `question` if there is one. */
async function started(program: string, args: readonly string[], question?: string) {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('close', resolve));
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  onTestFinished(stop);
  const spoke = new Promise((resolve) => child.stdout.once('data', resolve));
  if (question !== undefined) child.stdin.write(question);
  await spoke;
  return { pid: child.pid ?? 0, stop };
}
