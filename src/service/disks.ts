/** The disks behind the exports of a service: images, and the overflows of swap devices. */

import type { WriteMode } from '../export/export.ts';
import type { FormatName } from '../image/format.ts';
import { formatNameOf } from '../image/formats.ts';
import type { BlockImage } from '../image/image.ts';
import { openImage } from '../image/open.ts';
import { openRamDisk } from '../image/ramdisk.ts';
import { rawImage } from '../image/raw.ts';
import type { PageCodec } from '../layers/codec.ts';
import { TmemError } from '../lib/errors.ts';
import { NoOverflow } from '../swap/no-overflow.ts';
import { openOverflow } from '../swap/open-overflow.ts';
import type { OverflowStorage } from '../swap/overflow-storage.ts';
import type { ServiceLog, ServiceSettings, ShareSettings } from './settings.ts';

/** A disk that is open, and how it is to be offered. */
export interface Disk {
  readonly name: string;
  readonly image: BlockImage;
  readonly mode: WriteMode;
  readonly share: ShareSettings;
  /** The internal snapshot of the image that is served; undefined for what it holds now. */
  readonly snapshotName?: string | undefined;
  /** How fast what is below the image is copied into it; undefined for not at all. */
  readonly copyBytesPerSecond?: number | undefined;
  /** Of a swap device that has one. */
  readonly overflow: OverflowStorage | undefined;
}

/** What of the memory the tables of all exported images have; of those below them as much again. */
const TABLE_SHARE = 1 / 32;
const TABLE_BYTES_MIN = 512 * 1024;
const TABLE_BYTES_MAX = 16 * 1024 * 1024;
/** A quarter of the memory for tables that cannot be read piece by piece, of one image. */
const PINNED_SHARE = 4;

/** Nothing of a RAM disk is cached: it is in memory. */
const UNCACHED: ShareSettings = { weight: 100, capBytes: 0, minimumBytes: 0 };

/** Opens all disks, images first. Those that were opened are closed again when one cannot be. */
export async function openDisks(
  settings: ServiceSettings,
  codec: PageCodec,
  log: ServiceLog,
): Promise<Disk[]> {
  const disks: Disk[] = [];
  const formats = settings.exports.map(({ path, opening }) => opening.format ?? formatNameOf(path));
  const tableBytesMax = tableBytesOf(settings.memoryBytes, formats);
  try {
    for (const each of settings.exports) {
      disks.push(await openDisk(each, settings, { others: disks, tableBytesMax }, log));
    }
    for (const each of settings.swaps) disks.push(await openSwap(each, settings, codec));
    for (const { name, sizeBytes } of settings.ramDisks) {
      const image = openRamDisk(name, sizeBytes);
      disks.push({ name, image, mode: 'writearound', share: UNCACHED, overflow: undefined });
    }
    return disks;
  } catch (cause) {
    for (const { image } of disks) await image.close();
    throw cause;
  }
}

async function openDisk(
  { name, path, mode, opening, share }: ServiceSettings['exports'][number],
  { wantsDirect, allowBacking, memoryBytes }: ServiceSettings,
  { others, tableBytesMax }: { readonly others: readonly Disk[]; readonly tableBytesMax: number },
  log: ServiceLog,
): Promise<Disk> {
  const image = await openImage(path, {
    isReadOnly: mode === 'read-only',
    wantsDirect,
    allowBacking,
    formatName: opening.format,
    backingFormatName: opening.backingFormat,
    passphrase: opening.passphrase,
    snapshot: opening.loadSnapshot,
    tableBytesMax,
    pinnedBytesMax: Math.floor(memoryBytes / PINNED_SHARE),
    warn: (message) => log.warn(message),
  });
  const { copyBytesPerSecond, loadSnapshot: snapshotName } = opening;
  try {
    checkIsAlone(path, image, others);
    const isCopied = copyBytesPerSecond !== undefined && image.backing !== undefined;
    if (isCopied && mode !== 'read-only') image.checkMayDropBacking();
  } catch (cause) {
    await image.close();
    throw cause;
  }
  return { name, image, mode, share, snapshotName, copyBytesPerSecond, overflow: undefined };
}

/**
 * For the tables of one image: those of 128 GiB in clusters of 64 KiB at most. Of more than two images
 * that have tables each gets less, since they would leave little of the memory to pages.
 */
function tableBytesOf(memoryBytes: number, formats: readonly FormatName[]): number {
  const count = formats.filter((format) => format !== 'raw').length;
  const bytes = Math.floor((memoryBytes * TABLE_SHARE) / Math.max(2, count));
  return Math.min(TABLE_BYTES_MAX, Math.max(TABLE_BYTES_MIN, bytes));
}

/**
 * Bytes of memory that images, opened in a service of `memoryBytes`, and those below them may hold;
 * in one of `otherBytes`, which is more, no more than what is answered.
 */
export function memoryBytesOfImages(
  disks: readonly Disk[],
  memoryBytes: number,
  otherBytes: number,
): number {
  const formats = disks.map(({ image }) => image.formatName);
  const growth = tableBytesOf(otherBytes, formats) / tableBytesOf(memoryBytes, formats);
  let bytes = 0;
  for (const { image } of disks) {
    for (let each: BlockImage | undefined = image; each !== undefined; each = each.backing) {
      bytes += each.memoryBytesWith(growth);
    }
  }
  return bytes;
}

/** What one export writes no other may use, as its disk or below it. */
function checkIsAlone(path: string, image: BlockImage, others: readonly Disk[]): void {
  const media = mediaOf(image);
  for (const other of others) {
    const isShared = [...mediaOf(other.image)].some((medium) => media.has(medium));
    if (!isShared) continue;
    const isWritten =
      (!image.isReadOnly && mediaOf(other.image).has(image.medium)) ||
      (!other.image.isReadOnly && media.has(other.image.medium));
    if (!isWritten) continue;
    throw new TmemError(
      'usage',
      `${path} is exported twice, or is the base of another export, and could be changed behind a ` +
        `cache's back: offer it once, or every time with --mode read-only`,
    );
  }
}

/** The media of an image and of all below it. */
function mediaOf(image: BlockImage): Set<string> {
  const media = new Set<string>();
  for (let each: BlockImage | undefined = image; each !== undefined; each = each.backing) {
    media.add(each.medium);
  }
  return media;
}

async function openSwap(
  { name, sizeBytes, overflowPath, share }: ServiceSettings['swaps'][number],
  { wantsDirect, pageBytes }: ServiceSettings,
  codec: PageCodec,
): Promise<Disk> {
  if (overflowPath === undefined) {
    const image = rawImage(new NoOverflow(name, sizeBytes), `swap:${name}`);
    return { name, image, mode: 'swap', share, overflow: undefined };
  }
  const options = { name, sizeBytes, pageBytes, codec, path: overflowPath, wantsDirect };
  const overflow = await openOverflow({ ...options, removesAtClose: true });
  return { name, image: rawImage(overflow, `swap:${name}`), mode: 'swap', share, overflow };
}
