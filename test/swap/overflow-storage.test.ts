import { expect, it } from 'vitest';
import { describeStorageContract } from '../storage/contract.ts';
import { pageOf } from '../tmem/page-content.ts';
import { openFixture, PAGE_BYTES } from './overflow-fixture.ts';

describeStorageContract(
  'an overflow storage',
  async (content) => {
    const { storage } = openFixture(content.length);
    await storage.write(content, 0, content.length, 0);
    return { storage, release: () => {} };
  },
  { hasReadOnly: false },
);

it('reads as zeros, and is one hole, before anything is written', async () => {
  const { storage, read, medium } = openFixture(64 * PAGE_BYTES);
  expect((await read(5)).equals(Buffer.alloc(PAGE_BYTES))).toBe(true);
  const length = 64 * PAGE_BYTES;
  expect(await storage.extent(0, length)).toEqual({ length, isHole: true });
  expect(medium.requests).toMatchObject({ read: 0, write: 0 });
});

it('keeps same-filled pages without any record', async () => {
  const { storage, write, read, medium } = openFixture(64 * PAGE_BYTES);
  for (let page = 0; page < 64; page++) await write(page, page % 2 ? 'filled' : 'zero', page);
  expect((await read(7)).equals(pageOf(PAGE_BYTES, 'filled', 7))).toBe(true);
  expect(await storage.extent(0, 4 * PAGE_BYTES)).toEqual({ length: PAGE_BYTES, isHole: true });
  expect(storage).toMatchObject({ filledPages: 32, storedPages: 0, liveBytes: 0 });
  expect(medium.requests.write).toBe(0);
});

it('writes many pages in few large writes, and less than they are', async () => {
  const count = 2048;
  const { storage, write, read, medium } = openFixture(count * PAGE_BYTES);
  const written: number[] = [];
  medium.onWrite = (_offset, length) => {
    written.push(length);
  };
  for (let page = 0; page < count; page++) await write(page, 'half', page);
  expect(storage.statistics.recordsWritten).toBe(count);
  expect(storage.statistics.originalBytes).toBe(count * PAGE_BYTES);
  expect(storage.statistics.storedBytes).toBeLessThan(0.6 * count * PAGE_BYTES);
  expect(storage.liveBytes).toBe(storage.statistics.storedBytes);
  const meanBytes = storage.statistics.writtenBytes / written.length;
  expect(meanBytes).toBeGreaterThan(25 * PAGE_BYTES);
  for (let page = 0; page < count; page += 97) {
    expect((await read(page)).equals(pageOf(PAGE_BYTES, 'half', page))).toBe(true);
  }
});

it('reads neighbours with one request of the file', async () => {
  const { storage, write, medium } = openFixture(1024 * PAGE_BYTES);
  for (let page = 0; page < 1024; page++) await write(page, 'tiny', page);
  for (let page = 100; page < 600; page++) await write(page, 'random', page);
  await storage.sync();
  const before = medium.requests.read;
  const bytes = Buffer.alloc(32 * PAGE_BYTES);
  await storage.read(bytes, 0, bytes.length, 200 * PAGE_BYTES);
  for (let index = 0; index < 32; index++) {
    const page = bytes.subarray(index * PAGE_BYTES, (index + 1) * PAGE_BYTES);
    expect(page.equals(pageOf(PAGE_BYTES, 'random', 200 + index))).toBe(true);
  }
  const requests = medium.requests.read - before;
  expect(requests).toBeGreaterThan(0);
  expect(requests).toBeLessThan(6);
});

it('reads more neighbours than a buffer holds with requests that each fit one', async () => {
  const { storage, write, medium } = openFixture(8192 * PAGE_BYTES); // segments larger than a buffer
  for (let page = 0; page < 400; page++) await write(page, 'random', page);
  const lengths: number[] = [];
  medium.onRead = (_offset, length) => {
    lengths.push(length);
  };
  const bytes = Buffer.alloc(200 * PAGE_BYTES);
  await storage.read(bytes, 0, bytes.length, 0);
  for (let index = 0; index < 200; index++) {
    const page = bytes.subarray(index * PAGE_BYTES, (index + 1) * PAGE_BYTES);
    expect(page.equals(pageOf(PAGE_BYTES, 'random', index))).toBe(true);
  }
  expect(Math.max(...lengths)).toBeGreaterThan(60 * 1024);
  expect(Math.max(...lengths)).toBeLessThanOrEqual(72 * 1024);
});

it('drops the last page with the rest, though the device ends inside it', async () => {
  const length = 4 * PAGE_BYTES + 512;
  const { storage } = openFixture(length);
  await storage.write(Buffer.alloc(length, pageOf(PAGE_BYTES, 'random', 1)), 0, length, 0);
  await storage.discard(4 * PAGE_BYTES, 256);
  expect(storage.storedPages).toBe(5);
  await storage.discard(0, length);
  expect([storage.storedPages, storage.liveBytes]).toEqual([0, 0]);
  expect(await storage.extent(0, length)).toEqual({ length, isHole: true });
});

it('accounts for nothing after everything was discarded', async () => {
  const count = 1500;
  const { storage, write, read } = openFixture(count * PAGE_BYTES);
  const { freeBytes, segmentCount } = storage;
  const segmentBytes = freeBytes / segmentCount;
  for (let page = 0; page < count; page++) await write(page, 'random', page);
  for (let page = 0; page < count; page += 3) await write(page, 'half', page + count);
  expect(storage.deadBytes).toBeGreaterThan(0);
  await storage.discard(0, count * PAGE_BYTES);
  // What is on its way to the file is accounted for until it has arrived.
  await new Promise(setImmediate);
  expect(storage).toMatchObject({ liveBytes: 0, deadBytes: 0, storedPages: 0, filledPages: 0 });
  expect(storage.freeBytes).toBeGreaterThanOrEqual(freeBytes - 2 * segmentBytes);
  expect((await read(3)).equals(Buffer.alloc(PAGE_BYTES))).toBe(true);
});

it('does not lose a whole write to a part of the page that is written meanwhile', async () => {
  const { storage, write, read, medium } = openFixture(1024 * PAGE_BYTES);
  for (let page = 0; page < 1024; page++) await write(page, 'random', page);
  const hold = medium.holdNext('read');
  const part = storage.write(Buffer.alloc(10, 0xaa), 0, 10, 100);
  await hold.arrived;
  await write(0, 'half', 5000);
  hold.release();
  await part;
  const expected = pageOf(PAGE_BYTES, 'half', 5000).fill(0xaa, 100, 110);
  expect((await read(0)).equals(expected)).toBe(true);
});

it('leaves the event loop to others while many pages are written at once', async () => {
  const count = 512;
  const { storage, write } = openFixture(count * PAGE_BYTES);
  const recordsPerTurn: number[] = [];
  let isDone = false;
  const writes = Promise.all(Array.from({ length: count }, (_, page) => write(page, 'tiny', page)));
  void writes.then(() => {
    isDone = true;
  });
  for (let before = 0; !isDone; before = storage.statistics.recordsWritten) {
    await new Promise(setImmediate);
    recordsPerTurn.push(storage.statistics.recordsWritten - before);
  }
  expect(storage.statistics.recordsWritten).toBe(count);
  expect(Math.max(...recordsPerTurn)).toBeLessThanOrEqual(2 * 64);
});
