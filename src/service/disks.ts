/** The disks behind the exports of a service: images, and the overflows of swap devices. */

import type { BlockImage } from '../image/image.ts';
import { openRawImage, rawImage } from '../image/raw.ts';
import type { PageCodec } from '../layers/codec.ts';
import { TmemError } from '../lib/errors.ts';
import { NoOverflow } from '../swap/no-overflow.ts';
import { openOverflow } from '../swap/open-overflow.ts';
import type { OverflowStorage } from '../swap/overflow-storage.ts';
import type { ExportMode, ServiceSettings, ShareSettings } from './settings.ts';

/** A disk that is open, and how it is to be offered. */
export interface Disk {
  readonly name: string;
  readonly image: BlockImage;
  readonly mode: ExportMode;
  readonly share: ShareSettings;
  /** Of a swap device that has one. */
  readonly overflow: OverflowStorage | undefined;
}

/** Opens all disks, images first. Those that were opened are closed again when one cannot be. */
export async function openDisks(settings: ServiceSettings, codec: PageCodec): Promise<Disk[]> {
  const disks: Disk[] = [];
  try {
    for (const each of settings.exports) disks.push(await openImage(each, settings, disks));
    for (const each of settings.swaps) disks.push(await openSwap(each, settings, codec));
    return disks;
  } catch (cause) {
    for (const { image } of disks) await image.close();
    throw cause;
  }
}

async function openImage(
  { name, path, mode, share }: ServiceSettings['exports'][number],
  { wantsDirect }: ServiceSettings,
  others: readonly Disk[],
): Promise<Disk> {
  const isReadOnly = mode === 'read-only';
  const image = await openRawImage(path, { isReadOnly, wantsDirect });
  const twin = others.find((other) => other.image.medium === image.medium);
  if (twin !== undefined && !(twin.image.isReadOnly && isReadOnly)) {
    await image.close();
    throw new TmemError(
      'usage',
      `${path} is exported twice and could be changed behind a cache's back: ` +
        'offer it once, or every time with --mode read-only',
    );
  }
  return { name, image, mode, share, overflow: undefined };
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
