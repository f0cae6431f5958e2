/**
 * The header of LUKS1 (on-disk format specification 1.2.3, section 4): which cipher, how the master
 * key is derived, and where the eight slots keep it. All numbers are big endian, all offsets in
 * sectors of 512 bytes from the header's start.
 */

import { TmemError } from '../../lib/errors.ts';
import { roundUp } from '../../lib/round-up.ts';
import { DIGEST_BYTES, type LuksHash } from './anti-forensic.ts';
import { keySizes, SECTOR_BYTES, type VectorKind } from './sector-cipher.ts';

export const LUKS_HEADER_BYTES = 592;
/** What to do about a new image without a passphrase. */
export const PASSPHRASE_ADVICE =
  'give it with --passphrase-file, or for convert with --target-passphrase-file';
export const LUKS_MAGIC = Buffer.from('4c554b53babe', 'hex');
export const SLOT_COUNT = 8;
/** Every writer uses this many; a header that says another number is damaged. */
export const STRIPE_COUNT = 4000;
export const DIGEST_FIELD_BYTES = 20;
export const SALT_BYTES = 32;

const SLOTS_OFFSET = 208;
const SLOT_BYTES = 48;
const SLOT_ENABLED = 0x00ac71f3;
const SLOT_DISABLED = 0x0000dead;
const ITERATIONS_MIN = 1000;
/** More than any writer needs; what all slots may cost together is bounded where they are tried. */
const ITERATIONS_MAX = 2 ** 27;

/** One of the eight places that can hold the master key under a passphrase. */
export interface KeySlot {
  readonly isEnabled: boolean;
  readonly iterations: number;
  readonly salt: Buffer;
  /** Bytes from the header's start. */
  readonly materialOffset: number;
}

export interface LuksHeader {
  /** As the header says them, for messages and `info`. */
  readonly cipherName: string;
  readonly cipherMode: string;
  readonly hash: LuksHash;
  readonly mode: 'xts' | 'cbc';
  readonly vector: VectorKind;
  readonly keyBytes: number;
  /** Bytes from the header's start. */
  readonly payloadOffset: number;
  readonly digest: Buffer;
  readonly digestSalt: Buffer;
  readonly digestIterations: number;
  readonly uuid: string;
  readonly slots: readonly KeySlot[];
}

/** What of a header its maker chooses. */
export interface LuksCipherChoice {
  readonly mode: 'xts' | 'cbc';
  readonly vector: VectorKind;
  readonly keyBytes: number;
  readonly hash: LuksHash;
}

/** Bytes of a slot's key material on disk, rounded up to sectors. */
export function materialBytes(keyBytes: number): number {
  return roundUp(keyBytes * STRIPE_COUNT, SECTOR_BYTES);
}

/** Where the header and the keys of the slots in use end: no payload may begin before it. */
export function keyAreaBytes({ slots, keyBytes }: LuksHeader): number {
  const ends = slots.map(({ isEnabled, materialOffset }) =>
    isEnabled ? materialOffset + materialBytes(keyBytes) : 0,
  );
  return Math.max(roundUp(LUKS_HEADER_BYTES, SECTOR_BYTES), ...ends);
}

/**
 * Understands the first 592 bytes. `areaBytes` is how far the header, its key material and the
 * payload's start may reach; `name` and `headerOffset` are for messages. Throws a TmemError: `invalid` for what is
 * damaged, `unsupported` for ciphers that are not spoken here.
 */
export function parseLuksHeader(
  bytes: Buffer,
  areaBytes: number,
  name: string,
  headerOffset = 0,
): LuksHeader {
  const damaged: Damaged = (at, what) => {
    const offset = headerOffset + at;
    const message = `"${name}" has a damaged LUKS header: at offset ${offset}, ${what}`;
    const context = { image: name, offset };
    return new TmemError('invalid', `${message}; restore a backup of it`, { context });
  };
  if (areaBytes < LUKS_HEADER_BYTES) {
    throw damaged(areaBytes, `it ends, and has ${LUKS_HEADER_BYTES} bytes`);
  }
  if (!bytes.subarray(0, 6).equals(LUKS_MAGIC)) throw damaged(0, 'its magic is not there');
  const version = bytes.readUInt16BE(6);
  if (version !== 1) throw unsupported(name, `LUKS version ${version}`, 'version 1');
  const cipherName = textAt(bytes, 8);
  const cipherMode = textAt(bytes, 40);
  const { mode, vector } = understandMode(cipherName, cipherMode, name);
  const hash = understandHash(textAt(bytes, 72), name);
  const keyBytes = bytes.readUInt32BE(108);
  if (!keySizes(mode).includes(keyBytes)) throw damaged(108, `a key of ${keyBytes} bytes`);
  const payloadOffset = bytes.readUInt32BE(104) * SECTOR_BYTES;
  const digestIterations = bytes.readUInt32BE(164);
  if (!isIterations(digestIterations)) throw damaged(164, `${digestIterations} iterations`);
  const slots = Array.from({ length: SLOT_COUNT }, (_, index) =>
    parseSlot(bytes, index, keyBytes, areaBytes, damaged),
  );
  return {
    cipherName,
    cipherMode,
    hash,
    mode,
    vector,
    keyBytes,
    payloadOffset,
    digest: Buffer.from(bytes.subarray(112, 112 + DIGEST_FIELD_BYTES)),
    digestSalt: Buffer.from(bytes.subarray(132, 132 + SALT_BYTES)),
    digestIterations,
    uuid: textAt(bytes, 168, 40),
    slots,
  };
}

/** What is wrong with the byte at a place of the header. */
type Damaged = (at: number, what: string) => TmemError;

/** Only a slot that is in use has to make sense. */
function parseSlot(
  bytes: Buffer,
  index: number,
  keyBytes: number,
  areaBytes: number,
  damaged: Damaged,
): KeySlot {
  const at = SLOTS_OFFSET + index * SLOT_BYTES;
  const state = bytes.readUInt32BE(at);
  const iterations = bytes.readUInt32BE(at + 4);
  const materialOffset = bytes.readUInt32BE(at + 40) * SECTOR_BYTES;
  const salt = Buffer.from(bytes.subarray(at + 8, at + 8 + SALT_BYTES));
  const slot = { isEnabled: state === SLOT_ENABLED, iterations, salt, materialOffset };
  if (state === SLOT_DISABLED) return slot;
  if (!slot.isEnabled) throw damaged(at, `slot ${index} has no valid state`);
  const stripes = bytes.readUInt32BE(at + 44);
  if (stripes !== STRIPE_COUNT) throw damaged(at + 44, `slot ${index} has ${stripes} stripes`);
  if (!isIterations(iterations))
    throw damaged(at + 4, `slot ${index} has ${iterations} iterations`);
  const end = materialOffset + materialBytes(keyBytes);
  if (materialOffset < LUKS_HEADER_BYTES || end > areaBytes) {
    const cause = `slot ${index} keeps its key at ${materialOffset}, which is not`;
    throw damaged(at + 40, `${cause} within the ${areaBytes} bytes that are there`);
  }
  return slot;
}

/** The 592 bytes of a header. */
export function encodeLuksHeader(header: LuksHeader): Buffer {
  const bytes = Buffer.alloc(LUKS_HEADER_BYTES);
  LUKS_MAGIC.copy(bytes);
  bytes.writeUInt16BE(1, 6);
  bytes.write(header.cipherName, 8, 31, 'latin1');
  bytes.write(header.cipherMode, 40, 31, 'latin1');
  bytes.write(header.hash, 72, 31, 'latin1');
  bytes.writeUInt32BE(header.payloadOffset / SECTOR_BYTES, 104);
  bytes.writeUInt32BE(header.keyBytes, 108);
  header.digest.copy(bytes, 112, 0, DIGEST_FIELD_BYTES);
  header.digestSalt.copy(bytes, 132, 0, SALT_BYTES);
  bytes.writeUInt32BE(header.digestIterations, 164);
  bytes.write(header.uuid, 168, 39, 'latin1');
  for (const [index, slot] of header.slots.entries()) {
    const at = SLOTS_OFFSET + index * SLOT_BYTES;
    bytes.writeUInt32BE(slot.isEnabled ? SLOT_ENABLED : SLOT_DISABLED, at);
    bytes.writeUInt32BE(slot.iterations, at + 4);
    slot.salt.copy(bytes, at + 8, 0, SALT_BYTES);
    bytes.writeUInt32BE(slot.materialOffset / SECTOR_BYTES, at + 40);
    bytes.writeUInt32BE(STRIPE_COUNT, at + 44);
  }
  return bytes;
}

/** How the header's cipher mode is written, `xts-plain64` or `cbc-essiv:sha256`. */
export function modeText(mode: 'xts' | 'cbc', vector: VectorKind): string {
  return vector.name === 'essiv' ? `${mode}-essiv:${vector.hash}` : `${mode}-${vector.name}`;
}

function understandMode(
  cipherName: string,
  cipherMode: string,
  name: string,
): { mode: 'xts' | 'cbc'; vector: VectorKind } {
  const spoken = 'aes with xts-plain64, xts-plain, cbc-plain64, cbc-plain or cbc-essiv:sha256';
  const match = /^(xts|cbc)-(plain|plain64|essiv:(.*))$/.exec(cipherMode);
  const [, mode, vector, hash] = match ?? [];
  if (cipherName !== 'aes' || (mode !== 'xts' && mode !== 'cbc')) {
    throw unsupported(name, `the cipher ${cipherName}-${cipherMode}`, spoken);
  }
  if (vector === 'plain' || vector === 'plain64') return { mode, vector: { name: vector } };
  // The digest becomes an AES key, so it must be as long as one.
  if (mode === 'xts' || hash !== 'sha256') {
    throw unsupported(name, `the cipher ${cipherName}-${cipherMode}`, spoken);
  }
  return { mode, vector: { name: 'essiv', hash } };
}

function understandHash(text: string, name: string): LuksHash {
  if (Object.hasOwn(DIGEST_BYTES, text)) return text as LuksHash;
  throw unsupported(name, `the hash ${text}`, Object.keys(DIGEST_BYTES).join(', '));
}

function unsupported(name: string, what: string, spoken: string): TmemError {
  return new TmemError(
    'unsupported',
    `"${name}" is enciphered with ${what.slice(0, 80)}, which is not spoken here; use ${spoken}`,
  );
}

function isIterations(count: number): boolean {
  return count >= ITERATIONS_MIN && count <= ITERATIONS_MAX;
}

/** A text field, up to its first zero; what is no printable ASCII is shown as a question mark. */
function textAt(bytes: Buffer, offset: number, length = 32): string {
  const field = bytes.subarray(offset, offset + length);
  const end = field.indexOf(0);
  const text = field.subarray(0, end === -1 ? length : end).toString('latin1');
  return text.replace(/[^\x20-\x7e]/g, '?');
}
