/** Small LUKS images that cost little to open, and where the numbers in them are. */

import { createLuks, DEFAULT_LUKS, luksHeaderBytes } from '../../src/image/luks/luks.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';
import type { CorpusImage, ImageRegion } from './image-mutator.ts';
import { PASSPHRASE } from './qemu-luks.ts';

const SLOTS_AT = 208;
const SLOT_BYTES = 48;
const SLOT_COUNT = 8;
const DISK_BYTES = 128 << 10;
/** The least that the format allows. */
const ITERATIONS = 1000;

/** One image of each way to encipher. */
export async function makeLuksCorpus(): Promise<CorpusImage[]> {
  const images: CorpusImage[] = [];
  for (const choice of [DEFAULT_LUKS, { ...DEFAULT_LUKS, mode: 'cbc', keyBytes: 32 } as const]) {
    const bytes = Buffer.alloc(luksHeaderBytes(choice.keyBytes) + DISK_BYTES);
    const storage = new MemoryStorage(bytes, { name: 'corpus.luks' });
    const wish = { ...choice, passphrase: Buffer.from(PASSPHRASE), iterations: ITERATIONS };
    await createLuks(storage, 0, wish);
    await storage.read(bytes, 0, bytes.length, 0);
    images.push({ name: `luks ${choice.mode}`, bytes, regions: REGIONS });
  }
  return images;
}

/**
 * All of the header but how many rounds a key costs: a number that is right is as slow as it says,
 * and one that is too large is refused, see `image/luks/luks`.
 */
const REGIONS: readonly ImageRegion[] = [
  { name: 'magic and version', offset: 0, length: 8, wordBytes: 2 },
  { name: 'names of cipher, mode, hash', offset: 8, length: 96, wordBytes: 1 },
  { name: 'payload and key bytes', offset: 104, length: 8, wordBytes: 4 },
  { name: 'digest and salt', offset: 112, length: 52, wordBytes: 4 },
  { name: 'uuid', offset: 168, length: 40, wordBytes: 1 },
  ...Array.from({ length: SLOT_COUNT }, (_, slot) => SLOTS_AT + slot * SLOT_BYTES).flatMap(
    (at): ImageRegion[] => [
      { name: 'state of a slot', offset: at, length: 4, wordBytes: 4 },
      { name: 'salt of a slot', offset: at + 8, length: 32, wordBytes: 8 },
      { name: 'key material of a slot', offset: at + 40, length: 8, wordBytes: 4 },
    ],
  ),
];
