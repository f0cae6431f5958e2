/** The beginning of a file that a user names: it may be a pipe, an endless device, or a disk by mistake. */

import { closeSync, openSync, readSync } from 'node:fs';

/** All of the file at `path`, but no more than its first `bytesMax`. Throws as the system does. */
export function readHead(path: string, bytesMax: number): Buffer {
  const buffer = Buffer.alloc(bytesMax);
  const fd = openSync(path, 'r');
  try {
    let length = 0;
    // What is in a pipe comes in as many pieces as it was written in.
    for (let count = -1; count !== 0 && length < bytesMax; length += count) {
      count = readSync(fd, buffer, length, bytesMax - length, null);
    }
    return buffer.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}
