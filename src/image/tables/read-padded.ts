/** Reading what a container may not have: behind the end of its file there are zeros. */

import type { Storage } from '../../storage/storage.ts';

/**
 * Reads as `Storage.read` does; bytes behind the end of the storage become zeros. An image may map a
 * cluster of which only the first bytes were ever written.
 */
export function readPadded(
  storage: Storage,
  buffer: Buffer,
  bufferOffset: number,
  length: number,
  offset: number,
): Promise<void> {
  const storedBytes = Math.min(length, Math.max(0, storage.sizeBytes - offset));
  if (storedBytes < length) buffer.fill(0, bufferOffset + storedBytes, bufferOffset + length);
  if (storedBytes === 0) return Promise.resolve();
  return storage.read(buffer, bufferOffset, storedBytes, offset);
}
