/** The raw format: the image is its storage, byte for byte. */

import { openFileStorage } from '../storage/file.ts';
import type { FileStorageOptions } from '../storage/open-file.ts';
import type { Storage } from '../storage/storage.ts';
import { BlockImage, type ImageFormat, type Mapping } from './image.ts';

/** Opens the file or block device at `path` as a raw image; see `openFileStorage`. */
export async function openRawImage(path: string, options: FileStorageOptions): Promise<BlockImage> {
  const storage = await openFileStorage(path, options);
  const { identity, medium, isLocked, name } = storage;
  const format = new RawFormat(storage);
  return new BlockImage({ name, identity, medium, isLocked, format, storages: [storage] });
}

/** A raw image on any storage; `identity` and `medium` are as in `BlockImageParts`. */
export function rawImage(storage: Storage, identity: string, medium = identity): BlockImage {
  const format = new RawFormat(storage);
  return new BlockImage({ name: storage.name, identity, medium, format, storages: [storage] });
}

class RawFormat implements ImageFormat {
  readonly formatName = 'raw';
  readonly virtualSizeBytes: number;
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
    this.virtualSizeBytes = storage.sizeBytes;
  }

  map(offset: number, length: number): Mapping {
    return { kind: 'data', length, storage: this.#storage, storageOffset: offset };
  }
}
