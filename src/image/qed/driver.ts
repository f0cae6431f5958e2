/** How QED images are opened, made, looked at and checked. */

import { TmemError } from '../../lib/errors.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import type { FormatDriver, ImageInfo, OpenedFormat, OpenOptions } from '../format.ts';
import { checkQed } from './check.ts';
import { createQed } from './create.ts';
import { backingOf, FEATURE, readQedHeader } from './header.ts';
import { clearAutoclear, QedFormat } from './qed.ts';
import { rebaseQed } from './rebase.ts';

export const qedDriver: FormatDriver = {
  formatName: 'qed',
  open: openQed,
  info: qedInfo,
  create: createQed,
  rebase: rebaseQed,
  check: checkQed,
};

/**
 * An image that was not closed well is checked and mended before it is written again: of what no
 * crash leaves, nothing.
 */
async function openQed(storage: ResizableStorage, options: OpenOptions): Promise<OpenedFormat> {
  if (options.snapshot !== undefined) {
    const message = `cannot open a snapshot of "${storage.name}": qed images have none`;
    throw new TmemError('unsupported', `${message}; leave it out`);
  }
  let header = await readQedHeader(storage);
  if (!options.isReadOnly) {
    if ((header.features & FEATURE.needCheck) !== 0) await mend(storage);
    if (header.hasAutoclear) await clearAutoclear(storage);
    header = await readQedHeader(storage);
  }
  const { tableBytesMax, pinnedBytesMax } = options;
  const format = await QedFormat.open(storage, header, { tableBytesMax, pinnedBytesMax });
  return { format, backing: backingOf(header) };
}

async function mend(storage: ResizableStorage): Promise<void> {
  const { corruptions, errors, findings } = await checkQed(storage, {
    repair: 'all',
    isUnasked: true,
  });
  if (corruptions === 0 && errors === 0) return;
  const unmended = findings.find(({ kind, isRepaired }) => kind !== 'leak' && !isRepaired);
  throw new TmemError(
    'io',
    `cannot open "${storage.name}" for writing: it was not closed well, and ` +
      `${unmended?.message ?? 'is damaged'}; check the image, or open it for reading`,
    { context: { image: storage.name, corruptions, errors } },
  );
}

async function qedInfo(storage: ResizableStorage): Promise<ImageInfo> {
  const header = await readQedHeader(storage);
  return {
    formatName: 'qed',
    virtualSizeBytes: header.virtualSizeBytes,
    unitBytes: header.clusterBytes,
    backing: backingOf(header),
    references: [],
    isEncrypted: false,
    isDirty: (header.features & FEATURE.needCheck) !== 0,
    isCorrupt: false,
    snapshots: [],
    details: { tableClusters: header.tableClusters, headerClusters: header.headerClusters },
  };
}
