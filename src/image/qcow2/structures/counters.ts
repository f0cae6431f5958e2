/** The counters of a refcount block: 1 to 64 bits, those below a byte from its lowest bit on. */

import { readUInt64BE, writeUInt64BE } from '../../../lib/uint64.ts';

/** Reads counter `index` of a block of counters of `bits`; from 2^53 on it is rounded. */
export function readCounter(block: Buffer, base: number, index: number, bits: number): number {
  if (bits === 16) return (block[base + index * 2]! << 8) | block[base + index * 2 + 1]!;
  if (bits === 8) return block[base + index]!;
  if (bits === 32) return block.readUInt32BE(base + index * 4);
  if (bits === 64) {
    return readUInt64BE(block, base + index * 8);
  }
  const shift = (index * bits) & 7;
  return (block[base + ((index * bits) >>> 3)]! >> shift) & (2 ** bits - 1);
}

/** Writes it; `count` must not be more than `counterMax`, and a safe integer. */
export function writeCounter(
  block: Buffer,
  base: number,
  index: number,
  bits: number,
  count: number,
): void {
  if (bits === 64) {
    writeUInt64BE(block, count, base + index * 8);
  } else if (bits >= 8) {
    block.writeUIntBE(count, base + (index * bits) / 8, bits / 8);
  } else {
    const at = base + ((index * bits) >>> 3);
    const shift = (index * bits) & 7;
    const mask = (2 ** bits - 1) << shift;
    block[at] = (block[at]! & ~mask) | (count << shift);
  }
}

/** What a counter of that many bits can count to, and what a safe integer can. */
export function counterMax(bits: number): number {
  return bits === 64 ? Number.MAX_SAFE_INTEGER : 2 ** bits - 1;
}
