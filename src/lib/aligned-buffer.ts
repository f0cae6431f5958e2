/** Memory that O_DIRECT accepts: a Buffer of its own whose address is a multiple of a page. */

/** Address alignment of `alignedBuffer`, bytes; enough for every block device in use. */
export const MEMORY_ALIGNMENT_BYTES = 4096;

/**
 * A Buffer of `length` bytes at a page-aligned address, zeroed. `WebAssembly.Memory` is the one
 * allocation in JavaScript whose address is guaranteed to be page-aligned; it comes in units of
 * 64 KiB and is mapped lazily. The buffer must not be transferred.
 */
export function alignedBuffer(length: number): Buffer {
  const units = Math.max(1, Math.ceil(length / 65536));
  const memory = new WebAssembly.Memory({ initial: units, maximum: units });
  return Buffer.from(memory.buffer, 0, length);
}
