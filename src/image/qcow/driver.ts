/** How images of qcow's first version are opened, made, looked at and checked. */

import { TmemError } from '../../lib/errors.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import type { FormatDriver, ImageInfo, OpenedFormat, OpenOptions } from '../format.ts';
import { passphraseCipher } from '../luks/passphrase-cipher.ts';
import { checkQcow } from './check.ts';
import { createQcow } from './create.ts';
import { backingOf, type QcowHeader, readQcowHeader } from './header.ts';
import { openQcowDisk, QcowFormat, ReadOnlyQcowFormat } from './qcow.ts';

export const qcowDriver: FormatDriver = {
  formatName: 'qcow',
  open: openQcow,
  info: qcowInfo,
  create: createQcow,
  check: checkQcow,
};

async function openQcow(storage: ResizableStorage, options: OpenOptions): Promise<OpenedFormat> {
  const header = await readQcowHeader(storage);
  const why = whyNot(header, options);
  if (why !== undefined) {
    throw new TmemError('unsupported', `cannot open "${storage.name}" as qcow: ${why}`, {
      context: { image: storage.name },
    });
  }
  const disk = await openQcowDisk(storage, header, options);
  const backing = backingOf(header);
  if (!options.isReadOnly) return { format: new QcowFormat(disk, header), backing };
  const { passphrase } = options;
  const cipher = header.isEncrypted && passphrase ? passphraseCipher(passphrase) : undefined;
  return { format: new ReadOnlyQcowFormat(disk, cipher), backing };
}

function whyNot(header: QcowHeader, options: OpenOptions): string | undefined {
  if (options.snapshot !== undefined) return 'qcow images have no snapshots; leave it out';
  if (header.isEncrypted && options.passphrase === undefined) {
    return 'it is enciphered; give its passphrase with --passphrase-file';
  }
  if (options.isReadOnly) return undefined;
  if (header.isEncrypted) return 'it is enciphered, and only read; open it read-only or convert it';
  if (header.isXen)
    return 'it was made by blktap, and is only read; open it read-only or convert it';
  return undefined;
}

async function qcowInfo(storage: ResizableStorage): Promise<ImageInfo> {
  const header = await readQcowHeader(storage);
  return {
    formatName: 'qcow',
    virtualSizeBytes: header.virtualSizeBytes,
    unitBytes: 2 ** header.clusterBits,
    backing: backingOf(header),
    references: [],
    isEncrypted: header.isEncrypted,
    isDirty: false,
    isCorrupt: false,
    snapshots: [],
    details: { version: 1, tableEntries: 2 ** header.l2Bits, isXen: header.isXen },
  };
}
