/** A storage in memory that counts what is asked of it. */

import type { ResizableStorage } from '../../src/storage/storage.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';

/** What was asked for so far. */
export interface StorageCounts {
  requests: number;
  bytesRead: number;
  /** The largest single request, bytes. */
  requestBytesMax: number;
}

/** A container over `bytes`, and its counters. */
export function countingStorage(
  bytes: Buffer,
  isReadOnly = false,
): { storage: ResizableStorage; counts: StorageCounts } {
  const storage = new MemoryStorage(bytes, { isContainer: true, isReadOnly });
  const counts: StorageCounts = { requests: 0, bytesRead: 0, requestBytesMax: 0 };
  const read = storage.read.bind(storage);
  storage.read = (buffer, bufferOffset, length, offset) => {
    counts.requests++;
    counts.bytesRead += length;
    counts.requestBytesMax = Math.max(counts.requestBytesMax, length);
    return read(buffer, bufferOffset, length, offset);
  };
  return { storage, counts };
}
