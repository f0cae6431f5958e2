/** The key of LUKS1: taken out of a slot with a passphrase, or made new and put into one. */

import { pbkdf2, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { TmemError } from '../../lib/errors.ts';
import type { ResizableStorage, Storage } from '../../storage/storage.ts';
import type { SectorCipher } from '../format.ts';
import { readPadded } from '../tables/read-padded.ts';
import { DIGEST_BYTES, mergeStripes, splitIntoStripes } from './anti-forensic.ts';
import {
  DIGEST_FIELD_BYTES,
  encodeLuksHeader,
  type KeySlot,
  LUKS_HEADER_BYTES,
  type LuksCipherChoice,
  type LuksHeader,
  materialBytes,
  modeText,
  parseLuksHeader,
  SALT_BYTES,
  SLOT_COUNT,
  STRIPE_COUNT,
} from './header.ts';
import { sectorCipher } from './sector-cipher.ts';

const derive = promisify(pbkdf2);

/** Slots begin at multiples of this, as cryptsetup lays them out. */
const SLOT_ALIGNMENT_BYTES = 4096;

/**
 * Hashes that the slots which are tried may take together, some 20 seconds of one core: eight slots of
 * 4 million rounds each, as quick machines make them. A header must not keep us busy for hours.
 */
const ROUNDS_MAX = 2 ** 26;

/** Reads and understands the header at `headerOffset`, which may take up `headerLength` bytes. */
export async function readLuksHeader(
  storage: Storage,
  headerOffset: number,
  headerLength: number,
): Promise<LuksHeader> {
  const bytes = Buffer.alloc(LUKS_HEADER_BYTES);
  await readPadded(storage, bytes, 0, LUKS_HEADER_BYTES, headerOffset);
  const storedBytes = Math.max(0, storage.sizeBytes - headerOffset);
  const areaBytes = Math.min(headerLength, storedBytes);
  return parseLuksHeader(bytes, areaBytes, storage.name, headerOffset);
}

/**
 * The cipher of what is behind `header`, which lies at `headerOffset`: a passphrase gives the master key.
 * `counts` says what numbers the sectors: the payload of plain LUKS, which is the guest's disk, or the
 * file, in qcow2. Rejects with `permission` for a passphrase that is missing or opens no slot.
 */
export async function openLuks(
  storage: Storage,
  header: LuksHeader,
  headerOffset: number,
  passphrase: Buffer | undefined,
  counts: 'storage' | 'guest' = 'storage',
): Promise<SectorCipher> {
  if (passphrase === undefined) {
    throw new TmemError(
      'permission',
      `"${storage.name}" is enciphered with LUKS; give its passphrase with --passphrase-file`,
    );
  }
  const material = Buffer.alloc(materialBytes(header.keyBytes));
  let rounds = 0;
  for (const [index, slot] of header.slots.entries()) {
    if (!slot.isEnabled) continue;
    rounds += roundsOf(slot, header);
    if (rounds > ROUNDS_MAX) throw tooCostly(storage.name, index, slot);
    await readPadded(storage, material, 0, material.length, headerOffset + slot.materialOffset);
    const key = await openSlot(header, slot, passphrase, material);
    if (key === undefined) continue;
    const { mode, vector } = header;
    return sectorCipher({ mode, vector, key, counts });
  }
  throw new TmemError(
    'permission',
    `the passphrase opens no key slot of "${storage.name}"; give the one that it was made with`,
  );
}

/** What it costs to try a passphrase: PBKDF2 begins anew for each digest's length of key. */
function roundsOf(
  { iterations }: KeySlot,
  { keyBytes, hash, digestIterations }: LuksHeader,
): number {
  return iterations * Math.ceil(keyBytes / DIGEST_BYTES[hash]) + digestIterations;
}

function tooCostly(name: string, index: number, { iterations }: KeySlot): TmemError {
  const cause = `slot ${index} wants ${iterations} iterations`;
  const limit = `and up to there are more than ${ROUNDS_MAX} rounds to go through`;
  const advice = 'set the passphrase anew with fewer ("cryptsetup --pbkdf-force-iterations")';
  return new TmemError('unsupported', `cannot open "${name}": ${cause}, ${limit}; ${advice}`);
}

/** The master key if the passphrase is that of the slot; `material` is destroyed. */
async function openSlot(
  header: LuksHeader,
  slot: KeySlot,
  passphrase: Buffer,
  material: Buffer,
): Promise<Buffer | undefined> {
  const { mode, vector, hash, keyBytes } = header;
  const key = await derive(passphrase, slot.salt, slot.iterations, keyBytes, hash);
  const cipher = sectorCipher({ mode, vector, key, counts: 'guest' });
  cipher.decrypt(material, 0, material.length, 0, 0);
  const stripes = material.subarray(0, keyBytes * STRIPE_COUNT);
  const master = mergeStripes(stripes, keyBytes, hash);
  return timingSafeEqual(await digestOf(master, header), header.digest) ? master : undefined;
}

function digestOf(
  master: Buffer,
  {
    digestSalt,
    digestIterations,
    hash,
  }: Pick<LuksHeader, 'digestSalt' | 'digestIterations' | 'hash'>,
): Promise<Buffer> {
  return derive(master, digestSalt, digestIterations, DIGEST_FIELD_BYTES, hash);
}

/** How a new header is made. */
export interface NewLuksOptions extends LuksCipherChoice {
  readonly passphrase: Buffer;
  /** Rounds of PBKDF2 for the slot; the digest gets an eighth of them. */
  readonly iterations: number;
}

/** What qemu-img makes as well: both halves of a 512-bit key, and hashes that hold. */
export const DEFAULT_LUKS: LuksCipherChoice = {
  mode: 'xts',
  vector: { name: 'plain64' },
  keyBytes: 64,
  hash: 'sha256',
};

/** About half a second of one core of 2020. */
export const DEFAULT_ITERATIONS = 1_000_000;

/** Bytes of a new header with its slots: where a payload begins, and what qcow2 sets aside. */
export function luksHeaderBytes(keyBytes: number): number {
  return SLOT_ALIGNMENT_BYTES + SLOT_COUNT * slotBytes(keyBytes);
}

function slotBytes(keyBytes: number): number {
  return Math.ceil(materialBytes(keyBytes) / SLOT_ALIGNMENT_BYTES) * SLOT_ALIGNMENT_BYTES;
}

/** Writes a new header with a new key, its first slot under the passphrase. */
export async function createLuks(
  storage: ResizableStorage,
  headerOffset: number,
  options: NewLuksOptions,
): Promise<void> {
  const { mode, vector, keyBytes, hash, passphrase, iterations } = options;
  const master = randomBytes(keyBytes);
  const digestSalt = randomBytes(SALT_BYTES);
  const digestIterations = Math.max(1000, Math.round(iterations / 8));
  const slots = Array.from({ length: SLOT_COUNT }, (_, index): KeySlot => {
    const materialOffset = SLOT_ALIGNMENT_BYTES + index * slotBytes(keyBytes);
    const isEnabled = index === 0;
    const salt = isEnabled ? randomBytes(SALT_BYTES) : Buffer.alloc(SALT_BYTES);
    return { isEnabled, iterations: isEnabled ? iterations : 0, salt, materialOffset };
  });
  const header: LuksHeader = {
    cipherName: 'aes',
    cipherMode: modeText(mode, vector),
    hash,
    mode,
    vector,
    keyBytes,
    payloadOffset: luksHeaderBytes(keyBytes),
    digest: await digestOf(master, { digestSalt, digestIterations, hash }),
    digestSalt,
    digestIterations,
    uuid: randomUUID(),
    slots,
  };
  const bytes = Buffer.alloc(header.payloadOffset);
  encodeLuksHeader(header).copy(bytes);
  await fillSlot(bytes, header, passphrase, master);
  await storage.write(bytes, 0, bytes.length, headerOffset);
}

async function fillSlot(
  bytes: Buffer,
  { mode, vector, keyBytes, hash, slots }: LuksHeader,
  passphrase: Buffer,
  master: Buffer,
): Promise<void> {
  const slot = slots[0];
  if (slot === undefined) throw new Error('luks: a header has eight slots');
  const key = await derive(passphrase, slot.salt, slot.iterations, keyBytes, hash);
  const material = Buffer.alloc(materialBytes(keyBytes));
  splitIntoStripes(master, STRIPE_COUNT, hash).copy(material);
  sectorCipher({ mode, vector, key, counts: 'guest' }).encrypt(material, 0, material.length, 0, 0);
  material.copy(bytes, slot.materialOffset);
}
