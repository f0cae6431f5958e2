import { expect, test } from 'vitest';
import { KIB, MIB, noise, quiet, read } from '../fixture.ts';
import { SteppedStorage } from '../stepped-storage.ts';
import {
  makeWriteBack,
  type WriteBackOptions,
  type WriteBackParts,
  writeAtOnce,
  writeBackOn,
} from './write-back-fixture.ts';

const PAGE = 4 * KIB;
/** Nothing is written before somebody asks for it. */
const UNASKED_NEVER = { ageMsMax: Number.POSITIVE_INFINITY, highFraction: 2 };

/** A stack without hot that refuses the next `refusals` pages it must make room for. */
function refusing() {
  const memory = { refusals: 0 };
  const options: WriteBackOptions = {
    tuning: UNASKED_NEVER,
    hasHot: false,
    mayAllocate: () => memory.refusals === 0 || memory.refusals-- === 0,
  };
  return { memory, options };
}

/** The image has refused a page that memory refused: the next ones are taken with caution. */
async function failOnce(
  parts: WriteBackParts,
  memory: { refusals: number },
  fail: () => void,
): Promise<void> {
  memory.refusals = 1;
  fail();
  await expect(writeAtOnce(parts, 99 * PAGE, noise(PAGE, 99))).rejects.toMatchObject({
    kind: 'io',
  });
}

/** A part of the page is written while memory takes nothing, and the image does not take it either. */
async function failToRewrite(
  parts: ReturnType<typeof makeWriteBack>,
  memory: { refusals: number },
  page: number,
): Promise<void> {
  memory.refusals = Number.POSITIVE_INFINITY;
  parts.storage.failNext('write');
  const [offset, bytes] = [page * PAGE + 512, noise(512, 2)];
  await expect(writeAtOnce(parts, offset, bytes)).rejects.toMatchObject({ kind: 'io' });
  memory.refusals = 0;
}

/** Nothing is held beside memory, so that there is room for as many pages as may lie there. */
async function expectRoom(
  parts: ReturnType<typeof makeWriteBack>,
  memory: { refusals: number },
): Promise<void> {
  for (let page = 100; page < 164; page++) await writeAtOnce(parts, page * PAGE, noise(PAGE, page));
  for (let page = 100; page < 164; page++) await failToRewrite(parts, memory, page);
  expect(parts.table.lostCount).toBe(0);
}

const persistentPages = ({ frontswap }: WriteBackParts) => [...frontswap.pool.objects()].length;

test('a write that memory and image refuse leaves the page as it was acknowledged', async () => {
  const { memory, options } = refusing();
  const parts = makeWriteBack(options);
  const fail = () => parts.storage.failNext('write');
  await failOnce(parts, memory, fail);
  await writeAtOnce(parts, 0, noise(PAGE, 1));
  memory.refusals = 1;
  fail();
  await expect(writeAtOnce(parts, 512, noise(512, 2))).rejects.toMatchObject({ kind: 'io' });
  expect((await read(parts, 0, PAGE)).equals(noise(PAGE, 1))).toBe(true);
  expect([parts.table.lostCount, parts.tier.isHeld(0)]).toEqual([0, false]);
  await parts.target.sync();
  expect(parts.disk.subarray(0, PAGE).equals(noise(PAGE, 1))).toBe(true);
});

test('so does one while the image lacks another page that the writer had for it', async () => {
  const { memory, options } = refusing();
  const parts = makeWriteBack(options);
  await writeAtOnce(parts, 5 * PAGE, noise(PAGE, 5));
  parts.storage.failNext('write');
  await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'io' });
  await writeAtOnce(parts, 0, noise(PAGE, 1));
  memory.refusals = 1;
  parts.storage.failNext('write');
  await expect(writeAtOnce(parts, 512, noise(512, 2))).rejects.toMatchObject({ kind: 'io' });
  expect((await read(parts, 0, PAGE)).equals(noise(PAGE, 1))).toBe(true);
});

test('an older version that was kept is dropped when the image has the newer one', async () => {
  const { memory, options } = refusing();
  const parts = makeWriteBack(options);
  await failOnce(parts, memory, () => parts.storage.failNext('write'));
  await writeAtOnce(parts, 0, noise(PAGE, 1));
  memory.refusals = 1;
  await writeAtOnce(parts, 0, noise(PAGE, 2));
  expect(parts.disk.subarray(0, PAGE).equals(noise(PAGE, 2))).toBe(true);
  expect([parts.table.count, persistentPages(parts)]).toEqual([0, 0]);
  expect((await read(parts, 0, PAGE)).equals(noise(PAGE, 2))).toBe(true);
});

test('an older version that was kept and under way is never read again', async () => {
  const storage = new SteppedStorage(noise(MIB));
  const { memory, options } = refusing();
  const parts = writeBackOn(storage, options);
  storage.fateOf = () => 'fails at once';
  const failed = failOnce(parts, memory, () => undefined);
  await quiet();
  while (storage.steps.length > 0) await storage.step(0);
  await failed;
  storage.fateOf = () => 'well';
  await writeAtOnce(parts, 0, noise(PAGE, 1));
  const synced = parts.target.sync();
  await quiet();
  memory.refusals = 1;
  const written = writeAtOnce(parts, 0, noise(PAGE, 2));
  await quiet();
  expect(persistentPages(parts)).toBe(1);
  while (storage.steps.length > 0) {
    expect((await read(parts, 0, PAGE)).equals(noise(PAGE, 2))).toBe(true);
    await storage.step(0);
    await quiet();
  }
  await Promise.all([written, synced]);
  expect(storage.disk.subarray(0, PAGE).equals(noise(PAGE, 2))).toBe(true);
  expect([parts.cache.has(0), parts.table.count, persistentPages(parts)]).toEqual([false, 0, 0]);
});

test('pages that memory does not take back are held beside it, as far as there is room', async () => {
  const { memory, options } = refusing();
  const parts = makeWriteBack(options);
  const rewrite = (page: number) => failToRewrite(parts, memory, page);
  for (let page = 0; page < 65; page++) await writeAtOnce(parts, page * PAGE, noise(PAGE, page));
  await rewrite(0); // the first time it is the newer version that stays
  for (let page = 1; page < 65; page++) await rewrite(page);
  expect([parts.table.lostCount, persistentPages(parts)]).toEqual([1, 0]);
  for (let page = 1; page < 64; page++) {
    expect((await read(parts, page * PAGE, PAGE)).equals(noise(PAGE, page))).toBe(true);
  }
  // Written again they are where others are, dropped they are gone, and the image gets the rest.
  await writeAtOnce(parts, PAGE, noise(PAGE, 101));
  expect((await read(parts, PAGE, PAGE)).equals(noise(PAGE, 101))).toBe(true);
  await parts.target.trim(2 * PAGE, PAGE);
  await writeAtOnce(parts, 64 * PAGE, noise(PAGE, 64)); // the one that was lost
  await parts.target.sync();
  expect([parts.table.count, persistentPages(parts)]).toEqual([0, 0]);
  expect(parts.disk.subarray(PAGE, 2 * PAGE).equals(noise(PAGE, 101))).toBe(true);
  for (let page = 3; page < 65; page++) {
    expect(parts.disk.subarray(page * PAGE, (page + 1) * PAGE).equals(noise(PAGE, page))).toBe(
      true,
    );
  }
  await expectRoom(parts, memory);
});

test('a page held beside memory that the image takes with a newer version never comes back', async () => {
  const { memory, options } = refusing();
  const parts = makeWriteBack(options);
  await failOnce(parts, memory, () => parts.storage.failNext('write'));
  await writeAtOnce(parts, 0, noise(PAGE, 1));
  memory.refusals = Number.POSITIVE_INFINITY;
  for (const newer of [2, 3]) {
    parts.storage.failNext('write');
    await expect(writeAtOnce(parts, 0, noise(PAGE, newer))).rejects.toMatchObject({ kind: 'io' });
    expect((await read(parts, 0, PAGE)).equals(noise(PAGE, 1))).toBe(true);
  }
  expect(persistentPages(parts)).toBe(0);
  parts.clock.turn(60_000);
  await writeAtOnce(parts, 0, noise(PAGE, 3));
  memory.refusals = 0;
  expect((await read(parts, 0, PAGE)).equals(noise(PAGE, 3))).toBe(true);
  await expectRoom(parts, memory);
});

test('a page held beside memory that memory takes back later is there alone', async () => {
  const { memory, options } = refusing();
  const parts = makeWriteBack(options);
  await failOnce(parts, memory, () => parts.storage.failNext('write'));
  await writeAtOnce(parts, 0, noise(PAGE, 1));
  for (const [refusals, held] of [
    [Number.POSITIVE_INFINITY, 0],
    [1, 1],
  ] as const) {
    memory.refusals = refusals;
    parts.storage.failNext('write');
    await expect(writeAtOnce(parts, 0, noise(PAGE, 2))).rejects.toMatchObject({ kind: 'io' });
    expect(persistentPages(parts)).toBe(held);
  }
  await parts.target.sync();
  expect([parts.table.count, persistentPages(parts)]).toEqual([0, 0]);
  expect(parts.disk.subarray(0, PAGE).equals(noise(PAGE, 1))).toBe(true);
});

test('caution ends a minute after the image refused something', async () => {
  const { memory, options } = refusing();
  const parts = makeWriteBack(options);
  await failOnce(parts, memory, () => parts.storage.failNext('write'));
  await writeAtOnce(parts, 0, noise(PAGE, 1));
  parts.clock.turn(60_000);
  memory.refusals = 1;
  const hold = parts.storage.holdNext('write');
  const written = writeAtOnce(parts, 0, noise(PAGE, 2));
  await hold.arrived;
  expect(persistentPages(parts)).toBe(0);
  hold.release();
  await written;
});

test('memory that was taken away takes no page with it that is being written again', async () => {
  const parts = makeWriteBack({ tuning: UNASKED_NEVER, hasHot: false });
  for (const page of [0, 1]) await writeAtOnce(parts, page * PAGE, noise(PAGE, page));
  parts.tmem.setLimit(0);
  parts.storage.failNext('write');
  await expect(writeAtOnce(parts, 512, noise(512, 2))).rejects.toMatchObject({ kind: 'io' });
  expect((await read(parts, 0, PAGE)).equals(noise(PAGE, 0))).toBe(true);
  await writeAtOnce(parts, PAGE, noise(PAGE, 3));
  expect(parts.disk.subarray(PAGE, 2 * PAGE).equals(noise(PAGE, 3))).toBe(true);
  expect((await read(parts, PAGE, PAGE)).equals(noise(PAGE, 3))).toBe(true);
  expect([parts.table.count, parts.table.lostCount]).toEqual([1, 0]);
  parts.tmem.setLimit(MIB);
  await writeAtOnce(parts, 0, noise(PAGE, 4));
  expect([parts.table.count, parts.tier.isEmpty]).toEqual([1, false]);
  await parts.target.sync();
  expect(parts.disk.subarray(0, PAGE).equals(noise(PAGE, 4))).toBe(true);
});

test('a page in hot is written again in memory, however much of that was taken away', async () => {
  const parts = makeWriteBack({ tuning: UNASKED_NEVER });
  const { frontswap, writeBack } = parts;
  const refuse = async (data: Buffer): Promise<void> => {
    parts.storage.failNext('write');
    await expect(writeAtOnce(parts, 0, data)).rejects.toMatchObject({ kind: 'io' });
    expect((await read(parts, 0, PAGE)).equals(noise(PAGE, 2))).toBe(true);
  };
  await writeAtOnce(parts, 0, noise(PAGE, 1));
  parts.tmem.setLimit(0);
  frontswap.pool.account.setShare({ capBytes: 0 });
  await writeAtOnce(parts, 0, noise(PAGE, 2));
  expect((await read(parts, 0, PAGE)).equals(noise(PAGE, 2))).toBe(true);
  expect([parts.table.count, writeBack.statistics.fallThroughPages]).toEqual([1, 0]);
  // What would need another place goes to the image, and the older version stays until it is there.
  const loan = frontswap.lend(0);
  await refuse(noise(PAGE, 3));
  parts.lender?.returnLoan(loan);
  await refuse(Buffer.alloc(PAGE, 4));
});

test('a cap that was lowered takes no page with it that is being written again', async () => {
  const parts = makeWriteBack({ tuning: UNASKED_NEVER, hasHot: false });
  for (const page of [0, 1]) await writeAtOnce(parts, page * PAGE, noise(PAGE, page));
  parts.frontswap.pool.account.setShare({ capBytes: 0 });
  parts.storage.failNext('write');
  await expect(writeAtOnce(parts, 512, noise(512, 2))).rejects.toMatchObject({ kind: 'io' });
  expect((await read(parts, 0, PAGE)).equals(noise(PAGE, 0))).toBe(true);
});

test('a page is put back while the stack is frozen, and the stack stays frozen', async () => {
  const { memory, options } = refusing();
  const parts = makeWriteBack(options);
  const fail = () => parts.storage.failNext('write');
  const refuse = async (): Promise<void> => {
    memory.refusals = 1;
    fail();
    await expect(writeAtOnce(parts, 512, noise(512, 2))).rejects.toMatchObject({ kind: 'io' });
    expect([parts.table.lostCount, persistentPages(parts)]).toEqual([0, 1]);
  };
  await writeAtOnce(parts, 0, noise(PAGE, 1));
  parts.tmem.freeze();
  await refuse(); // the first time: the newer bytes are put
  await writeAtOnce(parts, 0, noise(PAGE, 1));
  await refuse(); // with caution: the older
  expect((await read(parts, 0, PAGE)).equals(noise(PAGE, 1))).toBe(true);
  expect(parts.tmem.layers.every(({ isFrozen }) => isFrozen)).toBe(true);
});
