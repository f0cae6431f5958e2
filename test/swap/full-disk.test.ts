import { expect, it } from 'vitest';
import { TmemError } from '../../src/lib/errors.ts';
import { pageOf } from '../tmem/page-content.ts';
import { type Fixture, openFixture, PAGE_BYTES } from './overflow-fixture.ts';

const SEGMENT_BYTES = 65536;
const FILE_HEADER_BYTES = 4096;
/** Pages that no compression helps, in a segment. */
const PER_SEGMENT = 15;

/** The disk takes nothing from that segment of the file on. */
function fillUp({ medium }: Fixture, segment: number): void {
  medium.onWrite = (offset, length) => {
    if (offset + length <= FILE_HEADER_BYTES + segment * SEGMENT_BYTES) return;
    throw new TmemError('no-space', 'the disk is full');
  };
}

/** Writes pages until one is refused; answers how many were taken. */
async function writeUntilFull({ write }: Fixture, first: number, end: number): Promise<number> {
  for (let page = first; page < end; page++) {
    const failure: unknown = await write(page, 'random', page).catch((cause: unknown) => cause);
    if (failure === undefined) continue;
    expect(failure).toMatchObject({ kind: 'no-space' });
    return page;
  }
  return end;
}

async function expectAll({ read }: Fixture, first: number, end: number): Promise<void> {
  for (let page = first; page < end; page++) {
    expect((await read(page)).equals(pageOf(PAGE_BYTES, 'random', page))).toBe(true);
  }
}

it('a disk that is full refuses writes, and what is freed in the file can be used again', async () => {
  const fixture = openFixture(600 * PAGE_BYTES);
  const { storage } = fixture;
  fillUp(fixture, 10);
  const end = await writeUntilFull(fixture, 0, 600);
  expect(end).toBe(12 * PER_SEGMENT); // ten on the disk, two in memory
  await expectAll(fixture, 0, end);
  await storage.discard(0, 5 * PER_SEGMENT * PAGE_BYTES);
  const later = await writeUntilFull(fixture, end, 600);
  expect(later - end).toBe(5 * PER_SEGMENT);
  await expectAll(fixture, 5 * PER_SEGMENT, later);
  expect(storage.statistics.checksumFailures).toBe(0);
  await storage.discard(0, storage.sizeBytes);
  expect(storage).toMatchObject({ liveBytes: 0, storedPages: 0 });
  fixture.medium.onWrite = undefined;
  expect(await writeUntilFull(fixture, 0, 600)).toBe(600);
  await expectAll(fixture, 0, 600);
});

it('pages that were dropped from a segment that moves in the file stay dropped', async () => {
  const fixture = openFixture(600 * PAGE_BYTES);
  const { storage, write, read } = fixture;
  fillUp(fixture, 10);
  const end = await writeUntilFull(fixture, 0, 600);
  const inMemory = 10 * PER_SEGMENT;
  await storage.discard((inMemory + 1) * PAGE_BYTES, 3 * PAGE_BYTES);
  await storage.discard(0, 4 * PER_SEGMENT * PAGE_BYTES);
  const deadBytes = storage.deadBytes;
  await write(end, 'random', end);
  expect(storage.deadBytes).toBe(deadBytes);
  await expectAll(fixture, inMemory + 4, end + 1);
  for (let page = inMemory + 1; page < inMemory + 4; page++) {
    expect((await read(page)).equals(Buffer.alloc(PAGE_BYTES))).toBe(true);
  }
});

it('a disk that fails is no full one: the segment stays where it is', async () => {
  const fixture = openFixture(600 * PAGE_BYTES);
  const { storage, medium } = fixture;
  await writeUntilFull(fixture, 0, 3 * PER_SEGMENT);
  await storage.discard(0, PER_SEGMENT * PAGE_BYTES);
  const places: number[] = [];
  medium.onWrite = (offset) => {
    places.push(offset);
    throw new TmemError('io', 'injected');
  };
  for (let page = 100; page < 150; page++) {
    await fixture.write(page, 'random', page).catch(() => undefined);
  }
  expect(places.length).toBeGreaterThan(2);
  expect(new Set(places).size).toBe(1);
});
