import { describe, expect, it } from 'vitest';
import { Random } from '../../tools/crash-random.ts';
import { fc } from '../../tools/seed.ts';
import { expectSame, roundsOf, runRounds } from '../appended/image-model.ts';
import { containerOf } from '../appended/images.ts';
import {
  checkSmall,
  contentOfSmall,
  memoryOf,
  openSmall,
  SECTOR,
  type SmallOptions,
  smallImage,
} from './hand-made.ts';
import { ScribbledContainer } from './scribbled-container.ts';

const GRAIN = 8 * SECTOR;
/** Three tables of eight grains, the last of which is cut. */
const CAPACITY = 2 * 8 * 8 + 5 * 8 + 3;

function pattern(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * 7 + (i >> 9)) % 251));
}

interface Kind extends Partial<SmallOptions> {
  readonly baseBytes?: number;
}

const SIZE = CAPACITY * SECTOR;
/** So many tables of one grain that the cache cannot hold them. */
const MANY = 128 * 8;

const KINDS: Kind[] = [
  { hasTables: true },
  { hasTables: false },
  { hasTables: false, hasCopies: false, hasZeroes: true },
  { hasTables: true, hasZeroes: true, baseBytes: SIZE + GRAIN },
  { hasTables: false, hasParent: true, baseBytes: 7 * GRAIN + SECTOR },
  { hasTables: false, hasParent: true, hasZeroes: true, baseBytes: SIZE },
  { hasTables: false, entriesPerTable: 1, capacitySectors: MANY },
  { hasTables: true, hasZeroes: true, entriesPerTable: 1, capacitySectors: MANY, baseBytes: SIZE },
];

describe.each(KINDS)('an image that is written by requests at once: %o', (kind) => {
  it('holds what a Buffer holds, and is clean', async () => {
    const { capacitySectors = CAPACITY } = kind;
    const sizeBytes = capacitySectors * SECTOR;
    await fc.assert(
      fc.asyncProperty(roundsOf(sizeBytes, GRAIN), fc.nat(), async (rounds, seed) => {
        const hasParent = kind.baseBytes !== undefined;
        const bytes = smallImage({ ...kind, capacitySectors, hasParent });
        const storage = new ScribbledContainer(bytes, new Random(seed));
        const base = hasParent ? pattern(kind.baseBytes ?? 0) : undefined;
        const image = await openSmall(storage, base);
        const content = Buffer.alloc(sizeBytes);
        base?.copy(content);
        await runRounds(image, content, rounds);
        expectSame(await contentOfSmall(image), content);
        await image.sync();
        const stored = Buffer.alloc(storage.sizeBytes);
        await storage.read(stored, 0, stored.length, 0);
        const again = await openSmall(memoryOf(Buffer.from(stored)), base);
        expectSame(await contentOfSmall(again), content);
        if (hasParent) stored.write('parentCID=ffffffff', stored.indexOf('parentCID'), 'latin1');
        const { corruptions, errors } = await checkSmall(stored);
        expect({ corruptions, errors }).toEqual({ corruptions: 0, errors: 0 });
      }),
      { numRuns: capacitySectors > CAPACITY ? 5 : 12 },
    );
  });
});

it('space that was given up is used again, but not before tables say so', async () => {
  const storage = memoryOf(smallImage({ capacitySectors: CAPACITY, hasTables: true }));
  const image = await openSmall(storage);
  await image.write(Buffer.alloc(8 * GRAIN, 1), 0, 8 * GRAIN, 0);
  await image.sync();
  const { sizeBytes } = storage;
  await image.discard(0, 4 * GRAIN);
  await image.write(Buffer.alloc(GRAIN, 2), 0, GRAIN, 8 * GRAIN);
  expect(storage.sizeBytes).toBe(sizeBytes + GRAIN);
  await image.sync();
  await image.sync();
  await image.write(Buffer.alloc(GRAIN, 3), 0, GRAIN, 0);
  await image.write(Buffer.alloc(GRAIN, 4), 0, GRAIN, GRAIN);
  expect(storage.sizeBytes).toBe(sizeBytes + GRAIN);
  const content = await contentOfSmall(image);
  expect([0, 1, 2, 4, 8].map((grain) => content[grain * GRAIN])).toEqual([3, 4, 0, 1, 2]);
});

it('writes of many grains use space that was given up, as far as it goes', async () => {
  const storage = memoryOf(smallImage({ capacitySectors: CAPACITY, hasTables: true }));
  const image = await openSmall(storage);
  await image.write(Buffer.alloc(8 * GRAIN, 1), 0, 8 * GRAIN, 0);
  await image.sync();
  const { sizeBytes } = storage;
  await image.discard(0, 2 * GRAIN);
  await image.discard(4 * GRAIN, 4 * GRAIN);
  await image.sync();
  await image.sync();
  await image.write(pattern(8 * GRAIN), 0, 8 * GRAIN, 8 * GRAIN);
  expect(storage.sizeBytes).toBe(sizeBytes + 2 * GRAIN);
  await image.sync();
  const content = await contentOfSmall(await openSmall(storage));
  expectSame(content.subarray(8 * GRAIN, 16 * GRAIN), pattern(8 * GRAIN));
  expect([0, 2, 3, 4].map((grain) => content[grain * GRAIN])).toEqual([0, 1, 1, 0]);
});

it('space that was given up at the end is cut off at the close, and no other', async () => {
  const storage = containerOf(smallImage({ capacitySectors: CAPACITY, hasTables: true }));
  const image = await openSmall(storage);
  await image.write(Buffer.alloc(8 * GRAIN, 1), 0, 8 * GRAIN, 0);
  await image.sync();
  const { sizeBytes } = storage;
  await image.discard(5 * GRAIN, 3 * GRAIN);
  await image.discard(GRAIN, GRAIN);
  const expected = await contentOfSmall(image);
  await image.close();
  expect(storage.sizeBytes).toBe(sizeBytes - 3 * GRAIN);
  const stored = Buffer.alloc(storage.sizeBytes);
  await storage.read(stored, 0, stored.length, 0);
  expect(await checkSmall(stored)).toMatchObject({ corruptions: 0, errors: 0, leaks: 0 });
  expectSame(await contentOfSmall(await openSmall(memoryOf(stored))), expected);
});
