/**
 * Memory for pieces that must be put together, or enciphered, before they are written. It is aligned
 * for O_DIRECT, and therefore few and kept: see `alignedBuffer`.
 */

import { alignedBuffer } from '../lib/aligned-buffer.ts';

/** The smallest size, and the largest that is kept, bytes. */
const SMALLEST_BYTES = 64 * 1024;
const LARGEST_BYTES = 2 * 1024 * 1024;
/** Bytes in all buffers that are kept; what is wanted besides is plain memory. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024;

/** By the binary logarithm of their size. */
const free: Buffer[][] = [];
const kept = new WeakSet<Buffer>();
let keptBytes = 0;

/** At least `length` bytes of any content, to be given back with `giveScratch`. */
export function takeScratch(length: number): Buffer {
  if (length > LARGEST_BYTES) return Buffer.allocUnsafeSlow(length);
  let sizeBytes = SMALLEST_BYTES;
  while (sizeBytes < length) sizeBytes *= 2;
  const found = free[Math.log2(sizeBytes)]?.pop();
  if (found !== undefined) return found;
  if (keptBytes + sizeBytes > KEPT_BYTES_MAX) return Buffer.allocUnsafeSlow(length);
  keptBytes += sizeBytes;
  const buffer = alignedBuffer(sizeBytes);
  kept.add(buffer);
  return buffer;
}

export function giveScratch(buffer: Buffer): void {
  if (!kept.has(buffer)) return;
  const order = Math.log2(buffer.length);
  let buffers = free[order];
  if (buffers === undefined) {
    buffers = [];
    free[order] = buffers;
  }
  buffers.push(buffer);
}
