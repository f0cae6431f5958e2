/**
 * 64-bit numbers as they are stored, in two halves and without BigInt. From 2^53 on what is read is
 * rounded: compare before trusting its last bits. What is written is a safe integer, not negative.
 */

const TWO_32 = 2 ** 32;

/** The big-endian number at byte `at`. */
export function readUInt64BE(buffer: Buffer, at: number): number {
  return buffer.readUInt32BE(at) * TWO_32 + buffer.readUInt32BE(at + 4);
}

/** The little-endian number at byte `at`. */
export function readUInt64LE(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at + 4) * TWO_32 + buffer.readUInt32LE(at);
}

/** Puts `value`, big-endian, at byte `at`. */
export function writeUInt64BE(buffer: Buffer, value: number, at: number): void {
  buffer.writeUInt32BE(Math.floor(value / TWO_32), at);
  buffer.writeUInt32BE(value % TWO_32, at + 4);
}

/** Into two words of memory that the system reads, where numbers begin with their low half. */
export function setUint64(words: Uint32Array, at: number, value: number): void {
  words[at] = value % TWO_32;
  words[at + 1] = value / TWO_32;
}

/** Puts `value`, little-endian, at byte `at`. */
export function writeUInt64LE(buffer: Buffer, value: number, at: number): void {
  buffer.writeUInt32LE(value % TWO_32, at);
  buffer.writeUInt32LE(Math.floor(value / TWO_32), at + 4);
}
