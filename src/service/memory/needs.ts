/** What the parts of a service want of its memory, before there are any but the disks. */

import { ownersBytesOf } from '../../export/export.ts';
import { dirtyObjectBytes } from '../../export/pages/dirty-pages.ts';
import { planAdvisorsOf } from '../advisors.ts';
import { type Disk, memoryBytesOfImages } from '../disks.ts';
import { RECORD_BUFFER_BYTES } from '../recording/recorder.ts';
import type { ServiceSettings } from '../settings.ts';
import type { MemoryNeeds } from './plan.ts';

/** What a service of `memoryBytes` wants that has these settings, and has opened these disks. */
export function memoryNeeds(
  settings: ServiceSettings,
  disks: readonly Disk[],
  memoryBytes: number,
): MemoryNeeds {
  const { pageBytes } = settings;
  const share = memoryBytes / settings.memoryBytes;
  const written = disks.filter(({ mode }) => mode === 'writeback' || mode === 'swap');
  return {
    maxConnections: settings.maxConnections,
    pageBytes,
    writeBackCount: disks.filter(({ mode }) => mode === 'writeback').length,
    dirtyLimitBytes: settings.dirtyLimitBytes * share,
    dirtyObjectBytes: sum(
      written.map(({ image }) => dirtyObjectBytes(image.virtualSizeBytes / pageBytes)),
    ),
    swapBytes: settings.swaps.map(({ sizeBytes }) => sizeBytes),
    hasAdmin: settings.admin !== undefined,
    takenBytes:
      planAdvisorsOf(settings, disks, memoryBytes).bytes +
      overflowBufferBytes(disks) +
      sum(disks.map(({ overflow }) => overflow?.metadataBytes ?? 0)) +
      (settings.record === undefined ? 0 : RECORD_BUFFER_BYTES) +
      sum(disks.map(({ image }) => ownersBytesOf(image, pageBytes))) +
      memoryBytesOfImages(disks, settings.memoryBytes, memoryBytes),
  };
}

/** The buffers of all overflows, bytes. */
export function overflowBufferBytes(disks: readonly Disk[]): number {
  return sum(disks.map(({ overflow }) => overflow?.bufferBytes ?? 0));
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
