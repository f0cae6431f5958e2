/** A VMDK as it is read: one extent after the other. */

import type { Storage } from '../../../storage/storage.ts';
import type { ImageFormat, Mapping } from '../../format.ts';
import type { TableStatistics } from '../../tables/table-cache.ts';
import type { Extent } from './extent.ts';

/** Where an extent is on the disk. */
export interface PlacedExtent {
  readonly extent: Extent;
  readonly begin: number;
  readonly end: number;
}

export interface VmdkFormatParts {
  /** What the image is opened by: a descriptor, or its only extent. */
  readonly ownStorage: Storage;
  /** In the order of the disk, at least one. */
  readonly extents: readonly Extent[];
  readonly tables: TableStatistics | undefined;
  /** What children say of this image; see `ImageReference.parentCid`. */
  readonly cid: number;
}

export class VmdkFormat implements ImageFormat {
  readonly formatName = 'vmdk';
  readonly virtualSizeBytes: number;
  readonly storages: readonly Storage[];
  readonly tables: TableStatistics | undefined;
  readonly cid: number;
  readonly extents: readonly PlacedExtent[];

  constructor(parts: VmdkFormatParts) {
    let end = 0;
    this.extents = parts.extents.map((extent) => {
      const begin = end;
      end += extent.lengthBytes;
      return { extent, begin, end };
    });
    this.virtualSizeBytes = end;
    const storages = new Set([parts.ownStorage]);
    for (const { storage } of parts.extents) if (storage !== undefined) storages.add(storage);
    this.storages = [...storages];
    this.tables = parts.tables;
    this.cid = parts.cid;
  }

  map(offset: number, length: number): Mapping | Promise<Mapping> {
    const { extent, begin, end } = this.extentAt(offset);
    return extent.map(offset - begin, Math.min(length, end - offset));
  }

  /** The extent that the byte at `offset` of the disk is in. */
  extentAt(offset: number): PlacedExtent {
    let low = 0;
    let high = this.extents.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.extents[middle]?.end ?? 0) > offset) high = middle;
      else low = middle + 1;
    }
    const found = this.extents[low];
    if (found === undefined || offset >= found.end) {
      throw new Error(`vmdk: no extent has the byte at ${offset}`);
    }
    return found;
  }

  /** The pieces of a range, one for each extent that it touches. */
  *pieces(offset: number, length: number) {
    for (let at = offset; at < offset + length; ) {
      const { extent, begin, end } = this.extentAt(at);
      const pieceBytes = Math.min(end, offset + length) - at;
      yield { extent, offset: at - begin, length: pieceBytes };
      at += pieceBytes;
    }
  }
}
