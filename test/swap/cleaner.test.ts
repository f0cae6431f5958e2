import { expect, it } from 'vitest';
import { pageOf } from '../tmem/page-content.ts';
import {
  SMALL_FILE_BYTES as FILE_BYTES,
  openFixture,
  PAGE_BYTES,
  shuffled,
} from './overflow-fixture.ts';

/** Records of pages that do not compress take this much. */
const RECORD_BYTES = 4112;

it('makes room for ever in a file that is as full as it may be', async () => {
  const { storage, write, read, file } = openFixture(200 * PAGE_BYTES, FILE_BYTES);
  const pages = Math.floor(storage.capacityBytes / RECORD_BYTES);
  const versions = new Map<number, number>();
  for (let page = 0; page < pages; page++) {
    await write(page, 'random', page);
    versions.set(page, page);
  }
  const numbers = shuffled(pages);
  for (let version = 1000; version < 6000; version++) {
    const page = numbers.next().value;
    await write(page, 'random', version);
    versions.set(page, version);
  }
  for (const [page, version] of versions) {
    expect((await read(page)).equals(pageOf(PAGE_BYTES, 'random', version))).toBe(true);
  }
  const { cleanedBytes, storedBytes, checksumFailures } = storage.statistics;
  expect(checksumFailures).toBe(0);
  // What is moved for each byte that is written stays bounded.
  expect(cleanedBytes).toBeGreaterThan(storedBytes / 10);
  expect(cleanedBytes / storedBytes).toBeLessThan(8);
  expect(storage.liveBytes).toBe(pages * RECORD_BYTES);
  expect(file.length).toBe(FILE_BYTES); // a write beyond it would have failed
  await storage.close();
});

it('finds room for many writes at once in a file that is as full as it may be', async () => {
  const { storage, medium, write, read } = openFixture(200 * PAGE_BYTES, FILE_BYTES);
  medium.onRead = medium.onWrite = () => new Promise(setImmediate);
  const pages = Math.floor(storage.capacityBytes / RECORD_BYTES);
  const versions = new Map<number, number>();
  for (let page = 0; page < pages; page++) await write(page, 'random', page);
  const numbers = shuffled(pages);
  for (let round = 1; round < 100; round++) {
    // As many as fill three segments.
    const batch = new Set(Array.from({ length: 60 }, () => numbers.next().value));
    for (const page of batch) versions.set(page, round * 1000 + page);
    await Promise.all([...batch].map((page) => write(page, 'random', round * 1000 + page)));
  }
  for (const [page, version] of versions) {
    expect((await read(page)).equals(pageOf(PAGE_BYTES, 'random', version))).toBe(true);
  }
});

it('answers no-space when it is full, keeps what it has, and takes more after a discard', async () => {
  const { storage, write, read } = openFixture(200 * PAGE_BYTES, FILE_BYTES);
  let page = 0;
  let failure: unknown;
  while (failure === undefined) {
    failure = await write(page, 'random', page).catch((cause) => cause);
    if (failure === undefined) page++;
  }
  expect(page).toBe(Math.floor(storage.capacityBytes / RECORD_BYTES));
  expect(failure).toMatchObject({ kind: 'no-space' });
  expect((failure as Error).message).toMatch(
    /^cannot write 4096 bytes at offset \d+ of "swap0": the overflow file "overflow" is full, .*; give/,
  );
  for (let each = 0; each < page; each++) {
    expect((await read(each)).equals(pageOf(PAGE_BYTES, 'random', each))).toBe(true);
  }
  // What takes less, or nothing, or the place of something else, still goes.
  await write(199, 'filled', 1);
  await write(3, 'random', 3000);
  await storage.discard(0, PAGE_BYTES);
  await write(page, 'random', page);
  await expect(write(0, 'random', 0)).rejects.toMatchObject({ kind: 'no-space' });
  expect((await read(page)).equals(pageOf(PAGE_BYTES, 'random', page))).toBe(true);
});

it('does not use a segment again while somebody reads it', async () => {
  const { storage, medium, write, read } = openFixture(200 * PAGE_BYTES, FILE_BYTES);
  for (let page = 0; page < 60; page++) await write(page, 'random', page);
  const holds = [0, 1, 2, 3].map(() => medium.holdNext('read'));
  const reads = [0, 5, 17, 33].map((page) => read(page));
  await Promise.all(holds.map(({ arrived }) => arrived));
  // Everything is overwritten, often enough for every segment to have been used several times.
  for (let round = 1; round < 40; round++) {
    for (let page = 0; page < 60; page++) await write(page, 'random', page + round * 1000);
  }
  for (const hold of holds) hold.release();
  const bytes = await Promise.all(reads);
  for (const [index, page] of [0, 5, 17, 33].entries()) {
    expect(bytes[index]?.equals(pageOf(PAGE_BYTES, 'random', page))).toBe(true);
  }
  expect(storage.statistics.checksumFailures).toBe(0);
});

it('waits for a segment whose only use is a read, rather than say that it is full', async () => {
  const { storage, medium, write, read } = openFixture(200 * PAGE_BYTES, FILE_BYTES);
  const pages = Math.floor(storage.capacityBytes / RECORD_BYTES);
  for (let page = 0; page < pages; page++) await write(page, 'random', page);
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  // The cleaner's reads, of whole segments, pass; others wait, one in each segment on the file.
  medium.onRead = (_offset, length) => (length > 32768 ? undefined : gate);
  const reads: Promise<void>[] = [];
  const numbers = shuffled(pages);
  let isDone = false;
  const writes = (async () => {
    const versions = Array.from({ length: pages }, (_, page) => page);
    for (let version = 1000; version < 2000; version++) {
      const page = numbers.next().value;
      await write(page, 'random', version);
      versions[page] = version;
      if (version % 50 > 0 || reads.length >= 16) continue;
      const other = (page + 1) % pages;
      const was = versions[other] ?? -1;
      reads.push(
        read(other).then((bytes) => {
          expect(bytes.equals(pageOf(PAGE_BYTES, 'random', was))).toBe(true);
        }),
      );
    }
    isDone = true;
  })();
  for (let turn = 0; turn < 3000; turn++) await new Promise(setImmediate);
  expect(isDone).toBe(false);
  open();
  await writes;
  await Promise.all(reads);
});

it('a segment that can not be written stays readable, fails later writes, and goes at last', async () => {
  const { storage, medium, write, read } = openFixture(200 * PAGE_BYTES);
  medium.failNext('write', 'ENOSPC', 3);
  const failures: unknown[] = [];
  const held: number[] = [];
  for (let page = 0; page < 100; page++) {
    await write(page, 'random', page).then(
      () => held.push(page),
      (cause) => failures.push(cause),
    );
  }
  expect(failures).toHaveLength(2);
  for (const failure of failures) expect(failure).toMatchObject({ kind: 'no-space' });
  expect(storage.statistics.writeFailures).toBe(3);
  for (const page of held) {
    expect((await read(page)).equals(pageOf(PAGE_BYTES, 'random', page))).toBe(true);
  }
});

it('passes over a segment that can not be read', async () => {
  const { storage, medium, write, read } = openFixture(200 * PAGE_BYTES, FILE_BYTES);
  for (let page = 0; page < 100; page++) await write(page, 'random', page);
  // Reads of whole segments are the cleaner's.
  medium.onRead = (offset, length) => {
    if (length > 32768 && offset === 4096) throw new Error('EIO: injected');
  };
  const numbers = shuffled(96);
  for (let version = 1000; version < 2000; version++) {
    await write(4 + numbers.next().value, 'random', version);
  }
  expect(storage.statistics.cleanFailures).toBeGreaterThan(0);
  expect(storage.damagedSegments).toBe(1);
  for (let page = 0; page < 4; page++) {
    expect((await read(page)).equals(pageOf(PAGE_BYTES, 'random', page))).toBe(true);
  }
});

it('refuses a write when nothing can be cleaned, and takes it after a discard', async () => {
  const { storage, medium, write } = openFixture(200 * PAGE_BYTES, FILE_BYTES);
  medium.onRead = () => {
    throw new Error('EIO: injected');
  };
  const numbers = shuffled(100);
  let failure: unknown;
  for (let version = 0; version < 1000 && failure === undefined; version++) {
    const written = write(numbers.next().value, 'random', version);
    failure = await written.then(() => undefined).catch((cause: unknown) => cause);
  }
  expect(failure).toMatchObject({ kind: 'no-space' });
  expect(storage.damagedSegments).toBeGreaterThan(5);
  await storage.discard(0, storage.sizeBytes);
  expect(storage.damagedSegments).toBe(0);
  await write(0, 'random', 1);
});
