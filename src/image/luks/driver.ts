/** Plain LUKS1: a header, and behind it the guest's disk, every sector enciphered. */

import { TmemError } from '../../lib/errors.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import type {
  CreateOptions,
  FormatDriver,
  ImageInfo,
  Mapping,
  OpenOptions,
  SectorCipher,
  WritableFormat,
  WriteTarget,
} from '../format.ts';
import { keyAreaBytes, type LuksHeader, PASSPHRASE_ADVICE } from './header.ts';
import {
  createLuks,
  DEFAULT_ITERATIONS,
  DEFAULT_LUKS,
  luksHeaderBytes,
  openLuks,
  readLuksHeader,
} from './luks.ts';
import { SECTOR_BYTES } from './sector-cipher.ts';

export const luksDriver: FormatDriver = { formatName: 'luks', open, info, create };

async function open(storage: ResizableStorage, options: OpenOptions) {
  if (options.snapshot !== undefined) {
    throw new TmemError('unsupported', `"${storage.name}" is a LUKS image; it has no snapshots`);
  }
  // Before it costs seconds of work: what is refused needs no passphrase.
  const header = await readPlainHeader(storage);
  const cipher = await openLuks(storage, header, 0, options.passphrase, 'guest');
  return { format: new LuksFormat(storage, cipher, header.payloadOffset) };
}

async function info(storage: ResizableStorage): Promise<ImageInfo> {
  const header = await readPlainHeader(storage);
  return {
    formatName: 'luks',
    virtualSizeBytes: payloadBytes(storage, header.payloadOffset),
    references: [],
    isEncrypted: true,
    isDirty: false,
    isCorrupt: false,
    snapshots: [],
    details: {
      cipher: `${header.cipherName}-${header.cipherMode}`,
      keyBits: header.keyBytes * 8,
      hash: header.hash,
      uuid: header.uuid,
      payloadOffset: header.payloadOffset,
      keySlots: header.slots.filter((slot) => slot.isEnabled).length,
    },
  };
}

/** A header that is kept apart from its disk says 0: what was written there would destroy the keys. */
async function readPlainHeader(storage: ResizableStorage): Promise<LuksHeader> {
  const header = await readLuksHeader(storage, 0, storage.sizeBytes);
  const { payloadOffset } = header;
  const keysEnd = keyAreaBytes(header);
  if (payloadOffset >= keysEnd) return header;
  const cause = `its payload begins at ${payloadOffset}, and its header and keys end at ${keysEnd}`;
  const advice = 'open a header that is kept apart from its disk with cryptsetup';
  throw new TmemError('unsupported', `cannot open "${storage.name}": ${cause}; ${advice}`);
}

async function create(storage: ResizableStorage, options: CreateOptions): Promise<void> {
  const [unknown] = Object.keys(options.settings);
  if (unknown !== undefined) {
    throw new TmemError('usage', `a LUKS image has no setting "${unknown}"; leave it out`);
  }
  if (options.backing !== undefined) {
    throw new TmemError('usage', 'a LUKS image cannot stand on a backing file; use qcow2');
  }
  const { passphrase, sizeBytes } = options;
  if (passphrase === undefined) {
    throw new TmemError(
      'usage',
      `"${storage.name}" is to be LUKS and needs a passphrase; ${PASSPHRASE_ADVICE}`,
    );
  }
  checkWhole(sizeBytes);
  await storage.resize(luksHeaderBytes(DEFAULT_LUKS.keyBytes) + sizeBytes);
  const wish = { ...DEFAULT_LUKS, passphrase, iterations: DEFAULT_ITERATIONS };
  await createLuks(storage, 0, wish);
  await storage.sync();
}

/** The guest's sectors are whole, so a payload that is not is cut. */
function payloadBytes({ sizeBytes }: ResizableStorage, payloadOffset: number): number {
  const bytes = Math.max(0, sizeBytes - payloadOffset);
  return bytes - (bytes % SECTOR_BYTES);
}

function checkWhole(sizeBytes: number): void {
  if (sizeBytes % SECTOR_BYTES === 0) return;
  throw new TmemError('usage', `a LUKS image is made of sectors; round ${sizeBytes} up to 512`);
}

class LuksFormat implements WritableFormat {
  readonly formatName = 'luks';
  readonly isWritable = true;
  readonly unitBytes = SECTOR_BYTES;
  readonly storages: readonly ResizableStorage[];
  readonly #storage: ResizableStorage;
  readonly #cipher: SectorCipher;
  readonly #payloadOffset: number;
  #sizeBytes: number;

  constructor(storage: ResizableStorage, cipher: SectorCipher, payloadOffset: number) {
    if (payloadOffset > storage.sizeBytes) {
      throw new TmemError(
        'invalid',
        `"${storage.name}" ends before its payload at ${payloadOffset}; it was cut short`,
      );
    }
    this.storages = [storage];
    this.#storage = storage;
    this.#cipher = cipher;
    this.#payloadOffset = payloadOffset;
    this.#sizeBytes = payloadBytes(storage, payloadOffset);
  }

  get virtualSizeBytes(): number {
    return this.#sizeBytes;
  }

  map(offset: number, length: number): Mapping {
    const storageOffset = this.#payloadOffset + offset;
    return { kind: 'data', length, storage: this.#storage, storageOffset, cipher: this.#cipher };
  }

  allocate(offset: number, length: number): WriteTarget {
    return {
      length,
      storage: this.#storage,
      storageOffset: this.#payloadOffset + offset,
      cipher: this.#cipher,
      headBytes: 0,
      tailBytes: 0,
    };
  }

  /** Zeros are enciphered like anything else: they must be written. */
  async zero(): Promise<boolean> {
    return false;
  }

  /** A hole would read as noise, and tell where the disk is empty: nothing is given up. */
  async discard(): Promise<void> {}

  sync(): Promise<void> {
    return this.#storage.sync();
  }

  async resize(sizeBytes: number): Promise<void> {
    checkWhole(sizeBytes);
    await this.#storage.resize(this.#payloadOffset + sizeBytes);
    this.#sizeBytes = sizeBytes;
  }
}
