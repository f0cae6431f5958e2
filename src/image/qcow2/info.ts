/** What is to be known of a qcow2 image without opening what it names. */

import type { ResizableStorage } from '../../storage/storage.ts';
import type { ImageInfo } from '../format.ts';
import { has, isRawDataFile, type Qcow2Header, readHeader } from './header.ts';
import { AUTOCLEAR, COMPATIBLE, COMPRESSION, CRYPT } from './layout.ts';
import { backingReference, dataFileReference } from './references.ts';
import { readSnapshots } from './snapshot-table.ts';

/** Reads header and snapshot table; rejects as `readHeader` does. */
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
    details: detailsOf(header),
  };
}

function detailsOf(header: Qcow2Header): Record<string, string | number | boolean> {
  const details: Record<string, string | number | boolean> = {
    version: header.version,
    refcountBits: 2 ** header.refcountOrder,
    compression: header.compressionType === COMPRESSION.zstd ? 'zstd' : 'zlib',
    extendedL2: has(header, 'extendedL2'),
    lazyRefcounts: (header.compatible & COMPATIBLE.lazyRefcounts) !== 0n,
    bitmaps: (header.autoclear & AUTOCLEAR.bitmaps) !== 0n,
  };
  if (header.crypt !== CRYPT.none) {
    details.encryption = header.crypt === CRYPT.luks ? 'luks' : 'aes';
  }
  if (has(header, 'dataFile')) details.dataFileRaw = isRawDataFile(header);
  return details;
}
