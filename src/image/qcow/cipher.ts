/**
 * The encryption of qcow's first version: AES-128-CBC over each sector, with the number of the
 * guest's sector as initialisation vector and the passphrase, cut to 16 bytes or padded with zeros,
 * as key. It protects little: use it to read old images.
 */

import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { SectorCipher } from '../format.ts';

const KEY_BYTES = 16;
const BLOCK_BYTES = 16;
const SECTOR_BYTES = 512;

/** The passphrase is not checked: an image does not say whether it is right. */
export function qcowCipher(passphrase: Buffer): SectorCipher {
  const key = Buffer.alloc(KEY_BYTES);
  passphrase.copy(key, 0, 0, KEY_BYTES);
  return {
    decrypt: (buffer, at, length, _storageOffset, guestOffset) =>
      decrypt(key, buffer.subarray(at, at + length), guestOffset),
    encrypt: (buffer, at, length, _storageOffset, guestOffset) =>
      encrypt(key, buffer.subarray(at, at + length), guestOffset),
  };
}

/** One cipher for all sectors: the blocks are chained here. */
function decrypt(key: Buffer, bytes: Buffer, guestOffset: number): void {
  const cipher = createDecipheriv('aes-128-ecb', key, null).setAutoPadding(false);
  const plain = cipher.update(bytes);
  const vector = Buffer.alloc(BLOCK_BYTES);
  for (let sector = 0; sector < bytes.length; sector += SECTOR_BYTES) {
    writeVector(vector, guestOffset + sector);
    for (let i = 0; i < BLOCK_BYTES; i++) plain[sector + i]! ^= vector[i]!;
    for (let i = sector + BLOCK_BYTES; i < sector + SECTOR_BYTES; i++) {
      plain[i]! ^= bytes[i - BLOCK_BYTES]!;
    }
  }
  plain.copy(bytes);
}

function encrypt(key: Buffer, bytes: Buffer, guestOffset: number): void {
  const vector = Buffer.alloc(BLOCK_BYTES);
  for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
    writeVector(vector, guestOffset + at);
    const cipher = createCipheriv('aes-128-cbc', key, vector).setAutoPadding(false);
    cipher.update(bytes.subarray(at, at + SECTOR_BYTES)).copy(bytes, at);
  }
}

function writeVector(vector: Buffer, guestOffset: number): void {
  vector.writeBigUInt64LE(BigInt(guestOffset / SECTOR_BYTES), 0);
}
