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

/** One page more than a segment takes: with the last one it is on its way to the file. */
const SEALING = 16;
const SEGMENT_BYTES = 65536;

async function writeAll({ write }: Fixture, first: number, end: number): Promise<void> {
  for (let page = first; page < end; page++) await write(page, 'random', page);
}

async function expectAll({ read }: Fixture, first: number, end: number): Promise<void> {
  for (let page = first; page < end; page++) {
    expect((await read(page)).equals(pageOf(PAGE_BYTES, 'random', page))).toBe(true);
  }
}

const turnOfTheLoop = () => new Promise(setImmediate);
const usedSegments = ({ storage }: Fixture) =>
  storage.segmentCount - storage.freeBytes / SEGMENT_BYTES;

it('a segment that is filled anew can be cleaned like any other', async () => {
  const fixture = openFixture(200 * PAGE_BYTES, SMALL_FILE_BYTES);
  const { storage, write } = fixture;
  for (let round = 0; round < 5; round++) {
    await write(0, 'random', 0);
    await storage.discard(0, PAGE_BYTES);
  }
  await writeAll(fixture, 0, 90);
  const numbers = shuffled(90);
  for (let count = 0; count < 1000; count++) {
    const page = numbers.next().value;
    await write(page, 'random', page);
  }
  await expectAll(fixture, 0, 90);
  expect(storage.statistics.cleanedSegments).toBeGreaterThan(10);
  expect(storage.statistics.cleanFailures).toBe(0);
});

it('a segment whose write is under way is not used again before it has ended', async () => {
  const fixture = openFixture(200 * PAGE_BYTES);
  const hold = fixture.medium.holdNext('write');
  await writeAll(fixture, 0, SEALING);
  await hold.arrived;
  await fixture.storage.discard(0, (SEALING - 1) * PAGE_BYTES);
  const writes = writeAll(fixture, SEALING, 100);
  for (let turn = 0; turn < 200; turn++) await turnOfTheLoop();
  hold.release();
  await writes;
  await expectAll(fixture, SEALING - 1, 100);
  expect(fixture.storage.statistics.checksumFailures).toBe(0);
});

it.each(['before', 'after'])(
  'a segment whose write fails is free when nothing in it is live, %s',
  async (when) => {
    const fixture = openFixture(200 * PAGE_BYTES);
    const { storage, medium } = fixture;
    const hold = medium.holdNext('write');
    await writeAll(fixture, 0, SEALING);
    await hold.arrived;
    const fail = async () => {
      hold.release(new TmemError('io', 'injected'));
      await turnOfTheLoop();
    };
    if (when === 'after') await fail();
    expect(usedSegments(fixture)).toBe(2);
    await storage.discard(0, (SEALING - 1) * PAGE_BYTES);
    if (when === 'before') await fail();
    expect(usedSegments(fixture)).toBe(1);
    expect(storage).toMatchObject({ liveBytes: 4112, deadBytes: 0 });
  },
);
