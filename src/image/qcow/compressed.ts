/**
 * Compressed clusters: raw deflate, at any byte of the file, with their length in the entry. They
 * are written with the window of 4 KiB that readers of the format may count on, and read with any.
 */

import { promisify } from 'node:util';
import { constants, deflateRaw, inflateRaw } from 'node:zlib';
import { TmemError } from '../../lib/errors.ts';
import type { Storage } from '../../storage/storage.ts';
import { type CompressedPlace, ENTRY_BYTES } from '../appended/layout.ts';
import type { CompressedUnit, Mapping } from '../format.ts';

const deflate = promisify(deflateRaw);
const inflate = promisify(inflateRaw);
const WINDOW_BITS = 12;

/** What an entry with bit 63 says: the length in the next `clusterBits` bits, then the offset. */
export function compressedPlace(table: Buffer, at: number, clusterBits: number): CompressedPlace {
  const high = table.readUInt32BE(at) & 0x7fff_ffff;
  const offsetBits = 31 - clusterBits; // of those in the upper half
  return {
    offset: (high % 2 ** offsetBits) * 2 ** 32 + table.readUInt32BE(at + 4),
    length: high >>> offsetBits,
  };
}

/** The entry for a place; undefined when it has no room for the length. */
export function compressedEntry(place: CompressedPlace, clusterBits: number): Buffer | undefined {
  if (place.length >= 2 ** clusterBits || place.offset >= 2 ** (63 - clusterBits)) return undefined;
  const raw = Buffer.alloc(ENTRY_BYTES);
  const offsetBits = BigInt(63 - clusterBits);
  raw.writeBigUInt64BE((1n << 63n) | (BigInt(place.length) << offsetBits) | BigInt(place.offset));
  return raw;
}

/** Whether a cluster can be there. */
export function isCompressedPlace(
  { offset, length }: CompressedPlace,
  firstOffset: number,
  endOffset: number,
): boolean {
  return length > 0 && offset >= firstOffset && offset + length <= endOffset;
}

export function compressedMapping(
  storage: Storage,
  place: CompressedPlace,
  guestOffset: number,
  unitBytes: number,
  inUnit: number,
): Mapping {
  const unit: CompressedUnit = {
    guestOffset,
    unitBytes,
    storage,
    storageOffset: place.offset,
    storedBytesMax: place.length,
    decompress: (src, dst) => decompress(storage, place, src, dst),
  };
  return { kind: 'compressed', length: unitBytes - inUnit, unit };
}

/** The compressed bytes of a cluster; undefined when they are not fewer. */
export async function compress(unit: Buffer): Promise<Buffer | undefined> {
  const packed = await deflate(unit, { windowBits: WINDOW_BITS });
  return packed.length < unit.length ? packed : undefined;
}

/** Stops as soon as there is more than a cluster: what an image says must not fill memory. */
async function decompress(
  storage: Storage,
  { offset, length }: CompressedPlace,
  src: Buffer,
  dst: Buffer,
): Promise<void> {
  let plain: Buffer;
  try {
    // Writers may leave out the end of the stream, once the cluster is complete.
    const finishFlush = constants.Z_SYNC_FLUSH;
    const options = { maxOutputLength: dst.length, finishFlush };
    plain = await inflate(src.subarray(0, length), options);
    if (plain.length !== dst.length) throw new Error(`it gives ${plain.length} bytes`);
  } catch (cause) {
    throw new TmemError(
      'io',
      `cannot decompress ${length} bytes at offset ${offset} of "${storage.name}": they do not ` +
        `give ${dst.length} bytes; the image is damaged`,
      { context: { image: storage.name, offset, length }, cause },
    );
  }
  plain.copy(dst);
}
