/** RAM disks: raw images in memory, empty at the start and lost at the end. */

import { RamStorage } from '../storage/ram.ts';
import type { BlockImage } from './image.ts';
import { rawImage } from './raw.ts';

/** A RAM disk of `sizeBytes`, a multiple of 512, all zeros. It takes memory for what is written. */
export function openRamDisk(name: string, sizeBytes: number): BlockImage {
  return rawImage(new RamStorage(`ram:${name}`, sizeBytes), `ram:${name}`);
}
