/** How much memory an image may hold besides its tables: all of it follows from what those may have. */

const MIB = 1024 * 1024;

/** The tables of 128 GiB in clusters of 64 KiB. */
export const TABLE_BYTES_DEFAULT = 16 * MIB;

export interface ImageMemory {
  /** Of decompressed units that are kept; as much again of those that are being decompressed. */
  readonly unitBytesMax: number;
  /** See `Scratch`. */
  readonly scratchBytesMax: number;
  /** The same for what is copied up from below. */
  readonly copyBytesMax: number;
  /** All of it. */
  readonly dataBytes: number;
}

/** `mayCopyUp` for an image that can be written and has another below it. */
export function imageMemory(tableBytesMax: number, mayCopyUp: boolean): ImageMemory {
  const half = Math.floor(tableBytesMax / 2);
  const unitBytesMax = Math.min(4 * MIB, half);
  const scratchBytesMax = Math.min(2 * MIB, half);
  const copyBytesMax = mayCopyUp ? scratchBytesMax : 0;
  const dataBytes = 2 * unitBytesMax + scratchBytesMax + copyBytesMax;
  return { unitBytesMax, scratchBytesMax, copyBytesMax, dataBytes };
}
