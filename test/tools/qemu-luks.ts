/** qemu-img for images that are enciphered with LUKS. */

import { runProgram, runWell } from './programs.ts';

const ATTEMPTS = 30;

/** The passphrase of all such images in tests, and how qemu-img is told it, as `key`. */
export const PASSPHRASE = 'open sesame';
export const SECRET = ['--object', `secret,id=key,data=${PASSPHRASE}`];

/**
 * Runs a qemu-img that makes a key slot. Where processor time is accounted for coarsely it gives up
 * with "Unable to get accurate CPU usage", by chance: it is run again.
 */
export async function makeWithKeySlot(args: readonly string[]): Promise<string> {
  for (let attempt = 1; attempt < ATTEMPTS; attempt++) {
    const ended = await runProgram('qemu-img', args);
    if (ended.code === 0) return ended.stdout;
    if (!/accurate CPU usage/.test(ended.stderr)) break;
  }
  return runWell('qemu-img', args);
}
