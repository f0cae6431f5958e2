/** Opening a swap device's overflow: a file if it has one, else nothing. */

import { randomBytes } from 'node:crypto';
import type { PageCodec } from '../layers/codec.ts';
import { openSegmentFile } from '../storage/segment-file.ts';
import { defaultFileBytes, geometryFor } from './geometry.ts';
import { OverflowStorage } from './overflow-storage.ts';
import { fileHeader, whyForeign } from './record.ts';

/** What a swap device's overflow file is to be. */
export interface OverflowFileOptions {
  /** How messages call the device. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly pageBytes: number;
  readonly codec: PageCodec;
  readonly path: string;
  /** What the file may grow to, bytes; by default enough for a device full of noise. */
  readonly fileBytesMax?: number | undefined;
  readonly removesAtClose?: boolean;
  readonly wantsDirect?: boolean | undefined;
}

/**
 * Makes the file, or empties one of an earlier run. Rejects with a TmemError that says what to do,
 * and touches no file that is not an overflow file.
 */
export async function openOverflow(options: OverflowFileOptions): Promise<OverflowStorage> {
  const { name, sizeBytes, pageBytes, codec, path, removesAtClose, wantsDirect } = options;
  const fileBytesMax = options.fileBytesMax ?? defaultFileBytes(sizeBytes, pageBytes);
  geometryFor(fileBytesMax, pageBytes); // throws before any file is touched
  const deviceId = randomBytes(16);
  const medium = await openSegmentFile(path, {
    header: fileHeader(deviceId),
    sizeBytesMax: fileBytesMax,
    whyForeign,
    removesAtClose: removesAtClose ?? false,
    wantsDirect,
  });
  try {
    const parts = { name, sizeBytes, pageBytes, codec, medium, fileBytesMax, deviceId };
    return new OverflowStorage(parts);
  } catch (cause) {
    await medium.close().catch(() => undefined); // it is the failure before that is to be told
    throw cause;
  }
}
