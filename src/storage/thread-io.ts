/** Positioned reads and writes on the threads of libuv, by Node's own calls: the way that always works. */

import fs from 'node:fs';
import { type IoPlaces, THREADS } from './io-places.ts';
import type { PositionedCall } from './transfer.ts';

/** A pair of calls that behave alike. */
export interface PositionedIo {
  /** What a person calls it. */
  readonly name: string;
  /** Each call has one of these until it ends. */
  readonly places: IoPlaces;
  readonly read: PositionedCall;
  readonly write: PositionedCall;
}

/** Always there. */
export const THREAD_IO: PositionedIo = {
  name: 'threads',
  places: THREADS,
  read: (fd, buffer, bufferOffset, length, position, callback) =>
    fs.read(fd, buffer, bufferOffset, length, position, callback),
  write: (fd, buffer, bufferOffset, length, position, callback) =>
    fs.write(fd, buffer, bufferOffset, length, position, callback),
};
