/** The raw format: the image is its storage, byte for byte. */

import { TmemError } from '../lib/errors.ts';
import { roundUp } from '../lib/round-up.ts';
import { openFileStorage } from '../storage/file.ts';
import type { FileStorageOptions } from '../storage/open-file.ts';
import type { ResizableStorage, Storage } from '../storage/storage.ts';
import {
  type FormatDriver,
  type ImageInfo,
  type Mapping,
  SECTOR_BYTES,
  type WritableFormat,
  type WriteTarget,
} from './format.ts';
import { BlockImage } from './image.ts';

/** Opens the file or block device at `path` as a raw image; see `openFileStorage`. */
export async function openRawImage(path: string, options: FileStorageOptions): Promise<BlockImage> {
  const storage = await openFileStorage(path, options);
  const { identity, medium, isLocked, name } = storage;
  const parts = { name, identity, medium, isLocked, files: [storage] };
  return new BlockImage({ ...parts, format: new RawFormat(storage) });
}

/** A raw image on any storage; `identity` and `medium` are as in `BlockImageParts`. */
export function rawImage(storage: Storage, identity: string, medium = identity): BlockImage {
  return new BlockImage({ name: storage.name, identity, medium, format: new RawFormat(storage) });
}

export const rawDriver: FormatDriver = {
  formatName: 'raw',
  async open(storage, options) {
    if (options.snapshot !== undefined) {
      const message = `cannot open a snapshot of "${storage.name}": raw images have none`;
      throw new TmemError('unsupported', `${message}; leave it out`);
    }
    // A container may have any size; a disk has whole sectors.
    return { format: new RawFormat(storage, roundUp(storage.sizeBytes, SECTOR_BYTES)) };
  },
  async info(storage): Promise<ImageInfo> {
    return {
      formatName: 'raw',
      virtualSizeBytes: roundUp(storage.sizeBytes, SECTOR_BYTES),
      references: [],
      isEncrypted: false,
      isDirty: false,
      isCorrupt: false,
      snapshots: [],
      details: {},
    };
  },
  async create(storage, { sizeBytes, backing, settings, passphrase }) {
    const unknown = Object.keys(settings)[0];
    const problem =
      (backing !== undefined && 'a backing file') ||
      (passphrase !== undefined && 'a passphrase') ||
      (unknown !== undefined && `an option "${unknown}"`);
    if (problem) {
      const advice = 'leave that away, or choose another format';
      throw new TmemError('usage', `a raw image has no use for ${problem}; ${advice}`);
    }
    await storage.resize(sizeBytes);
  },
};

/** Every byte is there: a write goes where it belongs, and nothing is kept beside the bytes. */
export class RawFormat implements WritableFormat {
  readonly formatName = 'raw';
  readonly isWritable = true;
  readonly unitBytes = 1;
  readonly storages: readonly Storage[];
  virtualSizeBytes: number;
  readonly #storage: Storage;

  /** A disk that is larger than its storage reads as zeros behind the end of that. */
  constructor(storage: Storage, virtualSizeBytes = storage.sizeBytes) {
    this.#storage = storage;
    this.storages = [storage];
    this.virtualSizeBytes = virtualSizeBytes;
  }

  map(offset: number, length: number): Mapping {
    return { kind: 'data', length, storage: this.#storage, storageOffset: offset };
  }

  allocate(offset: number, length: number): WriteTarget {
    const storage = this.#storage;
    return { length, storage, storageOffset: offset, headBytes: 0, tailBytes: 0 };
  }

  async zero(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast?: boolean,
  ): Promise<boolean> {
    await this.#storage.writeZeroes(offset, length, mayDiscard, mustBeFast);
    return true;
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#storage.discard(offset, length);
  }

  sync(): Promise<void> {
    return this.#storage.sync();
  }

  async resize(sizeBytes: number): Promise<void> {
    const storage = this.#storage;
    if (!isResizable(storage)) {
      throw new TmemError('unsupported', `"${storage.name}" has one size; make a larger one`);
    }
    await storage.resize(sizeBytes);
    this.virtualSizeBytes = sizeBytes;
  }
}

function isResizable(storage: Storage): storage is ResizableStorage {
  return 'resize' in storage;
}
