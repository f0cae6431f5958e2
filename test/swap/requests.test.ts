import { expect, it } from 'vitest';
import { pageOf } from '../tmem/page-content.ts';
import { openFixture, PAGE_BYTES } from './overflow-fixture.ts';

const turnsOfTheLoop = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
};

it('reads that waited for a buffer give it back when their page is gone by then', async () => {
  const { storage, medium, write, read } = openFixture(200 * PAGE_BYTES);
  for (let round = 0; round < 3; round++) {
    for (let page = 0; page < 100; page++) await write(page, 'random', page);
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    medium.onRead = () => gate;
    const reads = Array.from({ length: 24 }, (_, page) => read(page));
    await turnsOfTheLoop(2);
    expect(medium.requests.read).toBe(16 * (round + 1));
    await storage.discard(16 * PAGE_BYTES, 8 * PAGE_BYTES);
    open();
    const pages = await Promise.all(reads);
    for (const [page, bytes] of pages.entries()) {
      const expected = page < 16 ? pageOf(PAGE_BYTES, 'random', page) : Buffer.alloc(PAGE_BYTES);
      expect(bytes.equals(expected)).toBe(true);
    }
  }
});

it('a read that fails has done with its buffer when it says so', async () => {
  const { storage, medium, write } = openFixture(200 * PAGE_BYTES);
  for (let page = 0; page < 100; page++) await write(page, 'random', page);
  for (let page = 1; page < 100; page += 2) await write(page, 'random', page); // now apart
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  medium.failNext('read');
  medium.onRead = () => gate;
  const buffer = Buffer.alloc(4 * PAGE_BYTES);
  let isSettled = false;
  const reading = storage.read(buffer, 0, buffer.length, 0).finally(() => {
    isSettled = true;
  });
  const refused = expect(reading).rejects.toMatchObject({ kind: 'io' });
  await turnsOfTheLoop(20);
  expect([medium.requests.read, isSettled]).toEqual([4, false]);
  open();
  await refused;
});

it('the storage is closed when what was asked before has ended, and takes nothing more', async () => {
  const { storage, medium, write, read } = openFixture(200 * PAGE_BYTES);
  for (let page = 0; page < 100; page++) await write(page, 'random', page);
  const hold = medium.holdNext('read');
  const reading = read(5);
  await hold.arrived;
  let isClosed = false;
  const closing = storage.close().then(() => {
    isClosed = true;
  });
  await expect(read(6)).rejects.toMatchObject({ kind: 'shutdown' });
  await turnsOfTheLoop(20);
  expect(isClosed).toBe(false);
  hold.release();
  expect((await reading).equals(pageOf(PAGE_BYTES, 'random', 5))).toBe(true);
  await closing;
});
