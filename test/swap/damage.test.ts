import { expect, it } from 'vitest';
import { TmemError } from '../../src/lib/errors.ts';
import { pageOf } from '../tmem/page-content.ts';
import {
  type Fixture,
  openFixture,
  PAGE_BYTES,
  SMALL_FILE_BYTES,
  shuffled,
} from './overflow-fixture.ts';

const PAGES = 256;

/** A device whose first pages are on the file, each half of them in another form. */
async function writtenFixture(): Promise<Fixture> {
  const fixture = openFixture(PAGES * PAGE_BYTES);
  for (let page = 0; page < PAGES; page++) {
    await fixture.write(page, page % 2 === 0 ? 'random' : 'half', page);
  }
  return fixture;
}

/** Where in the file the records of a page begin: by page number, encoding and length. */
function recordsOf(file: Buffer, page: number): number[] {
  const places: number[] = [];
  for (let at = 4096; at < file.length - 16; at += 16) {
    const encoding = file[at + 11];
    const length = file.readUIntLE(at + 8, 3);
    const isRecord = (encoding === 1 && length === PAGE_BYTES) || (encoding === 2 && length > 1000);
    if (isRecord && length <= PAGE_BYTES && file.readUInt32LE(at + 4) === page) places.push(at);
  }
  return places;
}

function onlyRecordOf(file: Buffer, page: number): number {
  const places = recordsOf(file, page);
  expect(places).toHaveLength(1);
  return places[0] ?? 0;
}

const recordBytes = (file: Buffer, at: number) =>
  Math.ceil((12 + file.readUIntLE(at + 8, 3)) / 16) * 16;

async function expectDamaged({ storage, read }: Fixture, page: number): Promise<void> {
  const before = storage.statistics.checksumFailures;
  const failure = await read(page).catch((cause) => cause);
  expect(failure).toBeInstanceOf(TmemError);
  expect(failure).toMatchObject({ kind: 'io', context: { offset: page * PAGE_BYTES } });
  expect(failure.message).toMatch(/damaged in the overflow file "overflow"; check the disk/);
  expect(storage.statistics.checksumFailures).toBe(before + 1);
}

it.each([
  [10, 'as it is'],
  [11, 'compressed'],
])('a change of any part of a record is an error, page %i, %s', async (page) => {
  const fixture = await writtenFixture();
  const { file, read } = fixture;
  const at = onlyRecordOf(file, page);
  const end = at + 12 + file.readUIntLE(at + 8, 3);
  const content = await read(page);
  const places = [...Array(12).keys(), 12, 40, 500].map((each) => at + each);
  for (const place of [...places, end - 1]) {
    for (const mask of [0x01, 0x80]) {
      const value = file[place] ?? 0;
      file[place] = value ^ mask;
      await expectDamaged(fixture, page);
      file[place] = value;
    }
  }
  expect((await read(page)).equals(content)).toBe(true);
});

it('zeros in the place of a record are an error, not a page of zeros', async () => {
  const fixture = await writtenFixture();
  const at = onlyRecordOf(fixture.file, 10);
  fixture.file.fill(0, at, at + recordBytes(fixture.file, at));
  await expectDamaged(fixture, 10);
});

it('a whole record in the place of another page’s is an error', async () => {
  const fixture = await writtenFixture();
  const [from, to] = [onlyRecordOf(fixture.file, 10), onlyRecordOf(fixture.file, 12)];
  fixture.file.copy(fixture.file, to, from, from + recordBytes(fixture.file, from));
  await expectDamaged(fixture, 12);
  // Neither does it help to say that it is the other page.
  fixture.file.writeUInt32LE(12, to + 4);
  await expectDamaged(fixture, 12);
});

it('an older record of the same page, of the same segment, is an error', async () => {
  const fixture = openFixture(PAGES * PAGE_BYTES);
  for (let page = 0; page < PAGES; page++) {
    await fixture.write(page, 'random', page);
    if (page === 3) await fixture.write(1, 'random', 1000);
  }
  const [old = 0, now = 0] = recordsOf(fixture.file, 1);
  fixture.file.copy(fixture.file, now, old, old + recordBytes(fixture.file, old));
  await expectDamaged(fixture, 1);
});

it('a record of the same page and place, of an earlier use of the segment, is an error', async () => {
  const fixture = openFixture(64 * PAGE_BYTES);
  const { storage, file, write } = fixture;
  const fill = async (round: number) => {
    for (let page = 0; page < 64; page++) await write(page, 'random', page + round * 64);
    await new Promise(setImmediate);
  };
  const placeOf = (page: number, round: number) =>
    file.indexOf(pageOf(PAGE_BYTES, 'random', page + round * 64)) - 12;
  await fill(0);
  const stale = Buffer.from(file);
  const places = Array.from({ length: 48 }, (_, page) => placeOf(page, 0));
  // Segments come round, until a page has the place that it had at first.
  for (let round = 1; round < 100; round++) {
    await storage.discard(0, storage.sizeBytes);
    await fill(round);
    const page = places.findIndex((place, each) => place > 0 && place === placeOf(each, round));
    if (page < 0) continue;
    const at = places[page] ?? 0;
    stale.copy(file, at, at, at + recordBytes(stale, at));
    return expectDamaged(fixture, page);
  }
  expect.unreachable('no page came to the same place again');
});

it('damage costs the damaged page only, and its segment when that is dropped no more', async () => {
  const fixture = openFixture(PAGES * PAGE_BYTES, SMALL_FILE_BYTES);
  const { storage, file, write, read } = fixture;
  for (let page = 0; page < 100; page++) await write(page, 'random', page);
  const at = onlyRecordOf(file, 20);
  file[at + 5] = 0xff; // the page number: the cleaner will not find it
  const other = onlyRecordOf(file, 21);
  file[other + 100] = (file[other + 100] ?? 0) ^ 1;
  // The others are written again and again, so that the cleaner comes to each segment.
  const numbers = shuffled(96);
  for (let version = 1000; version < 3000; version++) {
    await write((24 + numbers.next().value) % 100, 'random', version);
  }
  expect(storage.statistics.cleanedBytes).toBeGreaterThan(0);
  expect(storage.damagedSegments).toBe(1);
  for (const page of [20, 21]) await expectDamaged(fixture, page);
  for (const page of [22, 23]) {
    expect((await read(page)).equals(pageOf(PAGE_BYTES, 'random', page))).toBe(true);
  }
  await storage.discard(20 * PAGE_BYTES, 2 * PAGE_BYTES);
  expect(storage.damagedSegments).toBe(0);
  expect((await read(20)).equals(Buffer.alloc(PAGE_BYTES))).toBe(true);
});
