/**
 * AES over sectors of 512 bytes, as LUKS and qcow images use it: XTS (IEEE 1619) and CBC, with the
 * initialisation vector made from the sector's number.
 *
 * A cipher object per sector is slow, so both directions of XTS and the decryption of CBC are built
 * on one ECB object that lives as long as the key: many sectors go through it in one call, and the
 * rest is exclusive or. Only encryption in CBC, where each block needs the last, makes an object
 * for each sector.
 */

import {
  type Cipher,
  createCipheriv,
  createDecipheriv,
  createHash,
  type Decipher,
} from 'node:crypto';
import type { SectorCipher } from '../format.ts';

export const SECTOR_BYTES = 512;
const BLOCK_BYTES = 16;
const BLOCKS = SECTOR_BYTES / BLOCK_BYTES;

/** Takes whole blocks and gives as many: it keeps nothing from one call to the next. */
type BlockCipher = Cipher | Decipher;
const SECTOR_WORDS = SECTOR_BYTES / 4;

/** Sectors that go through one call: what comes out of it is garbage soon after. */
const PIECE_SECTORS = 128;
const PIECE_BYTES = PIECE_SECTORS * SECTOR_BYTES;

/** How a sector's number becomes an initialisation vector. */
export type VectorKind =
  | { readonly name: 'plain' | 'plain64' }
  /** The number, enciphered with the hash of the key. */
  | { readonly name: 'essiv'; readonly hash: string };

/** Which cipher, and what counts its sectors. */
export interface SectorCipherOptions {
  readonly mode: 'xts' | 'cbc';
  readonly vector: VectorKind;
  /** For XTS both keys, one behind the other. */
  readonly key: Buffer;
  /** Whether sectors are counted in the storage or on the guest's disk. */
  readonly counts: 'storage' | 'guest';
}

/** Bytes of key that AES takes in this mode. */
export function keySizes(mode: 'xts' | 'cbc'): readonly number[] {
  return mode === 'xts' ? [32, 48, 64] : [16, 24, 32];
}

/** The cipher for all sectors under one key; the key must be of one of the `keySizes`. */
export function sectorCipher(options: SectorCipherOptions): SectorCipher {
  const numbers = new SectorVectors(options);
  return options.mode === 'xts' ? new XtsCipher(options, numbers) : new CbcCipher(options, numbers);
}

function ecb(key: Buffer, direction: 'encrypt' | 'decrypt'): BlockCipher {
  const make = direction === 'encrypt' ? createCipheriv : createDecipheriv;
  return make(`aes-${key.length * 8}-ecb`, key, null).setAutoPadding(false);
}

/** Words as AES sees them on the machines that Node runs on: the least significant byte first. */
function wordsOf(bytes: Buffer): Uint32Array {
  if (bytes.byteOffset % 4 === 0) {
    return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
  }
  const copy = new Uint8Array(bytes);
  return new Uint32Array(copy.buffer, 0, copy.length >>> 2);
}

/** The vectors of consecutive sectors; for XTS they are enciphered with the second key. */
class SectorVectors {
  readonly #words = new Uint32Array(PIECE_SECTORS * 4);
  readonly #bytes = Buffer.from(this.#words.buffer);
  readonly #isShort: boolean;
  readonly #encipher: BlockCipher | undefined;
  readonly #counts: 'storage' | 'guest';

  constructor({ mode, vector, key, counts }: SectorCipherOptions) {
    this.#counts = counts;
    this.#isShort = vector.name === 'plain';
    if (mode === 'xts') this.#encipher = ecb(key.subarray(key.length / 2), 'encrypt');
    else if (vector.name === 'essiv') {
      this.#encipher = ecb(createHash(vector.hash).update(key).digest(), 'encrypt');
    }
  }

  /** For `count` sectors, at most a piece; the answer is good until the next call. */
  of(storageOffset: number, guestOffset: number, count: number): Uint32Array {
    const offset = this.#counts === 'storage' ? storageOffset : guestOffset;
    const words = this.#words;
    for (let index = 0; index < count; index++) {
      const sector = offset / SECTOR_BYTES + index;
      words[index * 4] = sector % 2 ** 32;
      words[index * 4 + 1] = this.#isShort ? 0 : sector / 2 ** 32;
      words[index * 4 + 2] = 0;
      words[index * 4 + 3] = 0;
    }
    if (this.#encipher === undefined) return words;
    return wordsOf(this.#encipher.update(this.#bytes.subarray(0, count * BLOCK_BYTES)));
  }
}

/** The buffers that a piece goes through. */
class Piece {
  readonly words = new Uint32Array(PIECE_SECTORS * SECTOR_WORDS);
  readonly bytes = Buffer.from(this.words.buffer);
}

class XtsCipher implements SectorCipher {
  readonly #vectors: SectorVectors;
  readonly #encipher: BlockCipher;
  readonly #decipher: BlockCipher;
  readonly #piece = new Piece();
  readonly #tweaks = new Uint32Array(PIECE_SECTORS * SECTOR_WORDS);

  constructor({ key }: SectorCipherOptions, vectors: SectorVectors) {
    this.#vectors = vectors;
    this.#encipher = ecb(key.subarray(0, key.length / 2), 'encrypt');
    this.#decipher = ecb(key.subarray(0, key.length / 2), 'decrypt');
  }

  encrypt(buffer: Buffer, at: number, length: number, storage: number, guest: number): void {
    this.#run(this.#encipher, buffer, at, length, storage, guest);
  }

  decrypt(buffer: Buffer, at: number, length: number, storage: number, guest: number): void {
    this.#run(this.#decipher, buffer, at, length, storage, guest);
  }

  #run(
    cipher: BlockCipher,
    buffer: Buffer,
    bufferOffset: number,
    length: number,
    storageOffset: number,
    guestOffset: number,
  ): void {
    for (let done = 0; done < length; done += PIECE_BYTES) {
      const bytes = Math.min(length - done, PIECE_BYTES);
      const at = bufferOffset + done;
      this.#piece.bytes.set(buffer.subarray(at, at + bytes));
      const count = bytes / SECTOR_BYTES;
      this.#mask(this.#vectors.of(storageOffset + done, guestOffset + done, count), count);
      const out = cipher.update(this.#piece.bytes.subarray(0, bytes));
      const words = wordsOf(out);
      const tweaks = this.#tweaks;
      for (let index = 0; index < words.length; index++) words[index]! ^= tweaks[index]!;
      buffer.set(new Uint8Array(words.buffer, words.byteOffset, bytes), at);
    }
  }

  /**
   * Lays the tweaks of all blocks over the piece, and keeps them: each is the last one times x in
   * the field of IEEE 1619, section 5.2.
   */
  #mask(vectors: Uint32Array, count: number): void {
    const piece = this.#piece.words;
    const tweaks = this.#tweaks;
    let at = 0;
    for (let sector = 0; sector < count; sector++) {
      let a = vectors[sector * 4]!;
      let b = vectors[sector * 4 + 1]!;
      let c = vectors[sector * 4 + 2]!;
      let d = vectors[sector * 4 + 3]!;
      for (let block = 0; block < BLOCKS; block++) {
        tweaks[at] = a;
        tweaks[at + 1] = b;
        tweaks[at + 2] = c;
        tweaks[at + 3] = d;
        piece[at]! ^= a;
        piece[at + 1]! ^= b;
        piece[at + 2]! ^= c;
        piece[at + 3]! ^= d;
        at += 4;
        const carry = (d >> 31) & 0x87;
        d = (d << 1) | (c >>> 31);
        c = (c << 1) | (b >>> 31);
        b = (b << 1) | (a >>> 31);
        a = (a << 1) ^ carry;
      }
    }
  }
}

class CbcCipher implements SectorCipher {
  readonly #vectors: SectorVectors;
  readonly #key: Buffer;
  readonly #decipher: BlockCipher;
  readonly #piece = new Piece();

  constructor({ key }: SectorCipherOptions, vectors: SectorVectors) {
    this.#vectors = vectors;
    this.#key = key;
    this.#decipher = ecb(key, 'decrypt');
  }

  encrypt(buffer: Buffer, at: number, length: number, storage: number, guest: number): void {
    const name = `aes-${this.#key.length * 8}-cbc`;
    const vector = Buffer.alloc(BLOCK_BYTES);
    for (let done = 0; done < length; done += SECTOR_BYTES) {
      const words = this.#vectors.of(storage + done, guest + done, 1);
      vector.set(new Uint8Array(words.buffer, words.byteOffset, BLOCK_BYTES));
      const sector = buffer.subarray(at + done, at + done + SECTOR_BYTES);
      sector.set(createCipheriv(name, this.#key, vector).setAutoPadding(false).update(sector));
    }
  }

  decrypt(buffer: Buffer, at: number, length: number, storage: number, guest: number): void {
    for (let done = 0; done < length; done += PIECE_BYTES) {
      const bytes = Math.min(length - done, PIECE_BYTES);
      const target = buffer.subarray(at + done, at + done + bytes);
      this.#piece.bytes.set(target);
      const count = bytes / SECTOR_BYTES;
      const vectors = this.#vectors.of(storage + done, guest + done, count);
      const words = wordsOf(this.#decipher.update(this.#piece.bytes.subarray(0, bytes)));
      unchain(words, this.#piece.words, vectors);
      target.set(new Uint8Array(words.buffer, words.byteOffset, bytes));
    }
  }
}

/** Takes from each block what it was chained to: the stored block before it, or the vector. */
function unchain(words: Uint32Array, stored: Uint32Array, vectors: Uint32Array): void {
  for (let at = 0; at < words.length; at++) {
    const inSector = at % SECTOR_WORDS;
    const sector = (at - inSector) / SECTOR_WORDS;
    words[at]! ^= inSector < 4 ? vectors[sector * 4 + inSector]! : stored[at - 4]!;
  }
}
