/** What is to be known of a qcow2 image without opening what it names. */

import type { ResizableStorage } from '../../storage/storage.ts';
import type { ImageInfo } from '../format.ts';
import { bitmapDirectory, readBitmaps } from './structures/bitmaps.ts';
import { has, isRawDataFile, type Qcow2Header, readHeader } from './structures/header.ts';
import { COMPATIBLE, COMPRESSION, CRYPT } from './structures/layout.ts';
import { backingReference, dataFileReference } from './structures/references.ts';
import { readSnapshots } from './structures/snapshot-table.ts';

/** Characters of names that are told. */
const BITMAP_NAMES_MAX = 4096;

/** Reads header, snapshot table and bitmap directory; rejects as `readHeader` does. */
export async function qcow2Info(storage: ResizableStorage): Promise<ImageInfo> {
  const header = await readHeader(storage);
  const dataFile = dataFileReference(header);
  const snapshots = await readSnapshots(storage, header);
  return {
    formatName: 'qcow2',
    virtualSizeBytes: header.sizeBytes,
    unitBytes: header.clusterBytes,
    backing: backingReference(header),
    references: dataFile === undefined ? [] : [dataFile],
    isEncrypted: header.crypt !== CRYPT.none,
    isDirty: has(header, 'dirty'),
    isCorrupt: has(header, 'corrupt'),
    snapshots: snapshots.map(({ id, name, sizeBytes, createdAt }) => {
      return { id, name, sizeBytes, createdAt };
    }),
    details: { ...detailsOf(header), ...(await bitmapDetails(storage, header)) },
  };
}

/** The names of the bitmaps that say something, and of those that somebody left in use. */
async function bitmapDetails(storage: ResizableStorage, header: Qcow2Header) {
  const directory = bitmapDirectory(header, storage.name);
  if (directory === undefined) return {};
  const all = await readBitmaps(storage, header, directory);
  const namesOf = (isInUse: boolean) => {
    const names = all.filter((bitmap) => bitmap.isInUse === isInUse).map(({ name }) => name);
    // The names are the image's: nothing of them may reach a terminal that is not text.
    const text = names.join(', ').slice(0, BITMAP_NAMES_MAX);
    return text.replace(/\p{Cc}/gu, '?');
  };
  return { bitmaps: namesOf(false), inconsistentBitmaps: namesOf(true) };
}

function detailsOf(header: Qcow2Header): Record<string, string | number | boolean> {
  const details: Record<string, string | number | boolean> = {
    version: header.version,
    refcountBits: 2 ** header.refcountOrder,
    compression: header.compressionType === COMPRESSION.zstd ? 'zstd' : 'zlib',
    extendedL2: has(header, 'extendedL2'),
    lazyRefcounts: (header.compatible & COMPATIBLE.lazyRefcounts) !== 0n,
  };
  if (header.crypt !== CRYPT.none) {
    details.encryption = header.crypt === CRYPT.luks ? 'luks' : 'aes';
  }
  if (has(header, 'dataFile')) details.dataFileRaw = isRawDataFile(header);
  return details;
}
