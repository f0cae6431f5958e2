/**
 * The anti-forensic splitter of LUKS1 (on-disk format specification 1.2.3, section 2.4): a key is
 * kept as many stripes that give it back together, so that losing any of them loses the key.
 */

import { createHash, randomBytes } from 'node:crypto';

/** The digests that LUKS1 headers name here, and their lengths in bytes. */
export const DIGEST_BYTES = { sha1: 20, sha256: 32, sha512: 64 } as const;
export type LuksHash = keyof typeof DIGEST_BYTES;

/** Gives the key back from its stripes, which lie one behind the other. */
export function mergeStripes(stripes: Buffer, keyBytes: number, hash: LuksHash): Buffer {
  return fold(stripes, keyBytes, stripes.length / keyBytes, hash);
}

/** The key as `count` stripes: random ones, and a last that makes them come out as the key. */
export function splitIntoStripes(key: Buffer, count: number, hash: LuksHash): Buffer {
  const stripes = Buffer.alloc(key.length * count);
  const last = key.length * (count - 1);
  randomBytes(last).copy(stripes);
  const mask = diffuse(fold(stripes, key.length, count - 1, hash), hash);
  for (let at = 0; at < key.length; at++) stripes[last + at] = (key[at] ?? 0) ^ (mask[at] ?? 0);
  return stripes;
}

/** Folds the first `count` stripes; between two of them the sum is diffused. */
function fold(stripes: Buffer, keyBytes: number, count: number, hash: LuksHash): Buffer {
  let sum: Buffer = Buffer.alloc(keyBytes);
  for (let index = 0; index < count; index++) {
    if (index > 0) sum = diffuse(sum, hash);
    const start = index * keyBytes;
    for (let at = 0; at < keyBytes; at++) sum[at]! ^= stripes[start + at]!;
  }
  return sum;
}

/** Each piece as long as a digest becomes the digest of its number and itself. */
function diffuse(input: Buffer, hash: LuksHash): Buffer {
  const output = Buffer.alloc(input.length);
  const number = Buffer.alloc(4);
  const pieceBytes = DIGEST_BYTES[hash];
  for (let at = 0, index = 0; at < input.length; at += pieceBytes, index++) {
    number.writeUInt32BE(index);
    const piece = input.subarray(at, at + pieceBytes);
    createHash(hash).update(number).update(piece).digest().copy(output, at, 0, piece.length);
  }
  return output;
}
