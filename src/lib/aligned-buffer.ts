/** Memory that O_DIRECT accepts: a Buffer of its own whose address is a multiple of a page. */

import { TmemError } from './errors.ts';

/** Address alignment of `alignedBuffer`, bytes; enough for every block device in use. */
export const MEMORY_ALIGNMENT_BYTES = 4096;

/** Node has it, though its types leave it to those of browsers. */
declare const WebAssembly: {
  readonly Memory: new (units: { initial: number; maximum: number }) => { buffer: ArrayBuffer };
};

/** JavaScript cannot see an address, so whoever allocates aligned memory says so here. */
const alignedMemory = new WeakSet<ArrayBufferLike>();

function wasmMemory(units: number): { buffer: ArrayBuffer } {
  try {
    return new WebAssembly.Memory({ initial: units, maximum: units });
  } catch (cause) {
    const sentence = `no room for a buffer of ${units * 64}KiB, which takes 10GiB of addresses`;
    const advice = 'let the process have more address space (ulimit -v), or free some memory';
    throw new TmemError('no-space', `${sentence}; ${advice}`, { cause });
  }
}

/**
 * A Buffer of `length` bytes at a page-aligned address, zeroed. `WebAssembly.Memory` is the one
 * allocation in JavaScript whose address is guaranteed to be page-aligned; it comes in units of
 * 64 KiB and is mapped lazily. Each takes some 10 GiB of address space for V8's guard regions, of
 * which a process has room for about 13 000: make few large ones, not one per request. The buffer
 * must not be transferred. Throws `no-space` where the system has no room.
 */
export function alignedBuffer(length: number): Buffer {
  const units = Math.max(1, Math.ceil(length / 65536));
  const memory = wasmMemory(units);
  alignedMemory.add(memory.buffer);
  return Buffer.from(memory.buffer, 0, length);
}

/**
 * Whether `buffer[bufferOffset]` is known to lie at a multiple of `MEMORY_ALIGNMENT_BYTES`: true
 * only for slices of what `alignedBuffer` made, since no other address can be known.
 */
export function isAlignedMemory(buffer: Buffer, bufferOffset: number): boolean {
  return (
    (buffer.byteOffset + bufferOffset) % MEMORY_ALIGNMENT_BYTES === 0 &&
    alignedMemory.has(buffer.buffer)
  );
}
