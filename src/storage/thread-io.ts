/** Positioned reads and writes on the threads of libuv, by Node's own calls: the way that always works. */

import fs from 'node:fs';
import type { PositionedCall } from './transfer.ts';

/** A pair of calls that behave alike. */
export interface PositionedIo {
  /** What a person calls it. */
  readonly name: string;
  /** Each call has a thread of libuv's to itself until it ends; no unless it says so. */
  readonly usesThreads?: boolean;
  readonly read: PositionedCall;
  readonly write: PositionedCall;
}

/** Always there. */
export const THREAD_IO: PositionedIo = {
  name: 'threads',
  usesThreads: true,
  read: (fd, buffer, bufferOffset, length, position, callback) =>
    fs.read(fd, buffer, bufferOffset, length, position, callback),
  write: (fd, buffer, bufferOffset, length, position, callback) =>
    fs.write(fd, buffer, bufferOffset, length, position, callback),
};
