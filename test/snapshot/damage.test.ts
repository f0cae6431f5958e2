import fs from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../src/snapshot/head.ts';
import { SEGMENT_BYTES } from '../../src/snapshot/segment.ts';
import { fc } from '../tools/seed.ts';
import { fill, load, makePlace, type Place, pagesHeld, save, serve, upTo } from './fixture.ts';

const SEGMENTS_AT = 2 * BLOCK_BYTES; // behind the block and a table of one image
const PAGES = upTo(60);

let place: Place;
let whole: Buffer;

beforeEach(async () => {
  place = makePlace();
});

async function saveOne(pages: readonly number[]): Promise<void> {
  const served = await serve(place);
  fill(served, pages);
  await save(place, served);
  whole = fs.readFileSync(place.snapshotPath);
}

/** Loads a copy of the snapshot that `damage` has changed; every page loaded is compared. */
async function loadDamaged(pages: readonly number[], damage: (bytes: Buffer) => Buffer) {
  fs.writeFileSync(place.snapshotPath, damage(Buffer.from(whole)));
  const served = await serve(place, ['disk.raw'], 2 ** 22);
  const { loader } = await load(place, served);
  return { held: pagesHeld(served, pages), loader };
}

const flip = (...places: readonly number[]) => {
  return (bytes: Buffer) => {
    for (const at of places) bytes.writeUInt8(bytes.readUInt8(at) ^ 0x55, at);
    return bytes;
  };
};

/** The bytes of each region that mean something. */
function regions(): Record<string, readonly number[]> {
  const from = (at: number, count: number) => upTo(count).map((i) => at + i);
  const tail = whole.length - BLOCK_BYTES;
  const tableBytes = whole.readUInt32LE(44);
  return {
    'first block': from(0, 64),
    'first mark': from(512, 44),
    'first table': from(BLOCK_BYTES, tableBytes),
    'header of a segment': from(SEGMENTS_AT, 32),
    'last block': from(tail, 64),
    'last mark': from(tail + 512, 44),
    'last table': from(tail - tableBytes, tableBytes),
  };
}

describe('damage to a snapshot', () => {
  it('of a byte that belongs to no page costs none', async () => {
    await saveOne(PAGES);
    for (const [region, places] of Object.entries(regions())) {
      for (const at of places.filter((_, i) => i % 7 === 0)) {
        const { held } = await loadDamaged(PAGES, flip(at));
        expect(held.length, `${region}, byte ${at}`).toBe(PAGES.length);
      }
    }
  });

  it('of a byte of an entry costs one page, and that is counted', async () => {
    await saveOne(PAGES);
    for (let i = 0; i < 24; i++) {
      const { held, loader } = await loadDamaged(PAGES, flip(SEGMENTS_AT + 32 + i + 24 * i));
      expect(held.length, `byte ${i} of an entry`).toBe(PAGES.length - 1);
      expect(loader.statistics.skippedDamaged).toBe(1);
    }
  });

  it('is counted and told as far as it was met, though the memory was full before the end', async () => {
    await saveOne(upTo(1500));
    const bytes = flip(SEGMENTS_AT + 32)(Buffer.from(whole));
    fs.writeFileSync(place.snapshotPath, bytes);
    const { loader, log } = await load(place, await serve(place, ['disk.raw'], 2 ** 20));
    expect([loader.state, loader.statistics.skippedDamaged]).toEqual(['full', 1]);
    expect(log).toEqual([expect.stringMatching(/until the memory was full; left out: 1 damaged$/)]);
  });

  it('of an entry costs one page also where the header of the segment is gone', async () => {
    await saveOne(PAGES);
    for (const entry of [0, 1, PAGES.length - 1]) {
      const { held, loader } = await loadDamaged(
        PAGES,
        flip(SEGMENTS_AT + 1, SEGMENTS_AT + 33 + entry * 24),
      );
      expect(held.length).toBe(PAGES.length - 1);
      expect(loader.statistics.skippedDamaged).toBe(1);
    }
  });

  it('of any bytes costs no more pages than bytes, and never gives a wrong page', async () => {
    await saveOne(PAGES);
    const used = SEGMENTS_AT + 32 + PAGES.length * 24;
    const anywhere = fc.oneof(
      fc.integer({ min: SEGMENTS_AT, max: used }),
      fc.integer({
        min: SEGMENTS_AT + SEGMENT_BYTES - 90_000,
        max: SEGMENTS_AT + SEGMENT_BYTES - 1,
      }),
      fc.integer({ min: 0, max: 600 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(anywhere, { maxLength: 20 }), async (places) => {
        const { held, loader } = await loadDamaged(PAGES, flip(...places));
        expect(held.length).toBeGreaterThanOrEqual(PAGES.length - places.length);
        expect(held.length + loader.statistics.skippedDamaged).toBe(PAGES.length);
      }),
      { numRuns: 60 },
    );
  });

  it('by cutting it off costs the pages behind the cut', async () => {
    const pages = upTo(1500);
    await saveOne(pages);
    const segments = (whole.length - SEGMENTS_AT) / SEGMENT_BYTES;
    expect(segments).toBeGreaterThan(2);
    let least = 0;
    for (let segment = 0; segment <= Math.floor(segments); segment++) {
      for (const more of [0, 1, 40, SEGMENT_BYTES / 2, SEGMENT_BYTES - 1]) {
        const end = SEGMENTS_AT + segment * SEGMENT_BYTES + more;
        const { held, loader } = await loadDamaged(pages, (bytes) => bytes.subarray(0, end));
        if (end <= whole.length) {
          expect(held.length + loader.statistics.skippedDamaged).toBe(pages.length);
        }
        expect(held.length).toBeGreaterThanOrEqual(least);
        if (more === 0) least = held.length;
      }
    }
    expect(least).toBe(pages.length);
  });

  it('by cutting off half of its head leaves nothing that can be used', async () => {
    await saveOne(PAGES);
    for (const end of [0, 1, 100, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 10]) {
      const { held, loader } = await loadDamaged(PAGES, (bytes) => bytes.subarray(0, end));
      expect([held.length, loader.state]).toEqual([0, 'cold']);
    }
  });

  it('that puts another snapshot in the middle of it gives none of its pages', async () => {
    await saveOne(PAGES);
    const older = whole;
    const served = await serve(place);
    fill(served, upTo(7));
    await save(place, served);
    whole = fs.readFileSync(place.snapshotPath);
    const { held } = await loadDamaged(PAGES, (bytes) => {
      older.copy(bytes, SEGMENTS_AT, SEGMENTS_AT, SEGMENTS_AT + SEGMENT_BYTES);
      return bytes;
    });
    expect(held).toEqual([]);
  });
});
