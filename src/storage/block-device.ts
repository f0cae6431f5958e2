/** What Linux tells of a block device in /sys, for want of ioctl(2). */

import fs from 'node:fs';
import { TmemError } from '../lib/errors.ts';
import { deviceNumbers } from './device-number.ts';
import { type Libc, SEEK } from './libc.ts';

/** The size of the device, bytes. Where /sys is not mounted, seeking to the end of `fd` tells. */
export async function deviceSizeBytes(
  path: string,
  device: bigint,
  fd: number,
  libc: Libc | undefined,
): Promise<number> {
  try {
    // The unit of this file is 512 bytes, whatever the device's own sectors are.
    return Number.parseInt(await readAttribute(device, 'size'), 10) * 512;
  } catch (cause) {
    if (libc !== undefined) return libc.lseek(fd, 0, SEEK.end);
    const advice = 'mount /sys, or install the optional dependency "koffi"';
    throw new TmemError('unsupported', `cannot find out the size of "${path}"; ${advice}`, {
      context: { path },
      cause,
    });
  }
}

/**
 * Rejects with `read-only` for a device that is set to take no writes. The system opens it for
 * writing all the same (blockdev(8)), and would refuse what was accepted long before.
 */
export async function checkTakesWrites(path: string, device: bigint): Promise<void> {
  const text = await readAttribute(device, 'ro').catch(() => '0'); // where nobody tells, writes do
  if (text.trim() !== '1') return;
  const what = 'this device is set to take no writes';
  throw new TmemError('read-only', `cannot open "${path}": ${what}; open it read-only`, {
    context: { path },
  });
}

function readAttribute(device: bigint, name: string): Promise<string> {
  const { major, minor } = deviceNumbers(device);
  return fs.promises.readFile(`/sys/dev/block/${major}:${minor}/${name}`, 'ascii');
}
