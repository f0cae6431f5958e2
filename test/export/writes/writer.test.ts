import { describe, expect, test } from 'vitest';
import { BufferPool } from '../../../src/lib/buffer-pool.ts';
import { KIB, MIB, noise, quiet, read, write } from '../fixture.ts';
import { SteppedStorage } from '../stepped-storage.ts';
import {
  makeWriteBack,
  type WriteBackOptions,
  writeAtOnce,
  writeBackOn,
} from './write-back-fixture.ts';

const PAGE = 4 * KIB;
/** Nothing is written before somebody asks for it. */
const LAZY = { ageMsMax: Number.POSITIVE_INFINITY, highFraction: 2 };

const contentOf = (page: number): Buffer => noise(PAGE, page + 1);

type Parts = Pick<ReturnType<typeof writeBackOn>, 'target'>;

/** Writes whole pages, each of which must be taken in the same turn. */
function dirty({ target }: Parts, pages: Iterable<number>): void {
  for (const page of pages) {
    expect(target.tryWrite(page * PAGE, PAGE, contentOf(page), 0)).toBe(true);
  }
}

const range = (first: number, end: number, step = 1): number[] =>
  Array.from({ length: Math.ceil((end - first) / step) }, (_, i) => first + i * step);

/** An export that notes its writes, as first page and count. */
function noting(options: WriteBackOptions = {}) {
  const parts = makeWriteBack(options);
  const writes: [number, number][] = [];
  parts.storage.onWrite = (offset, length) => {
    writes.push([offset / PAGE, length / PAGE]);
  };
  return { ...parts, writes };
}

describe('what is written back', () => {
  test('goes in the order of the image, neighbours together', async () => {
    const parts = noting({ tuning: LAZY });
    dirty(parts, [9, 3, 4, 1, 5, 2]);
    await parts.target.sync();
    expect(parts.writes).toEqual([
      [1, 5],
      [9, 1],
    ]);
    expect(parts.disk.subarray(3 * PAGE, 4 * PAGE).equals(contentOf(3))).toBe(true);
    expect(parts.writer.statistics).toMatchObject({ writtenPages: 6, runs: 2, failures: 0 });
  });

  test('goes in pieces of 256 KiB at most', async () => {
    const parts = noting({ tuning: LAZY });
    dirty(parts, range(0, 100));
    await parts.target.sync();
    expect(parts.writes).toEqual([
      [0, 64],
      [64, 36],
    ]);
  });

  test('is clean and cached then, unless it was written again meanwhile', async () => {
    const parts = noting({ tuning: LAZY });
    dirty(parts, [1, 2]);
    const hold = parts.storage.holdNext('write');
    const synced = parts.target.sync();
    await hold.arrived;
    const newer = noise(PAGE, 77);
    expect(parts.target.tryWrite(PAGE, PAGE, newer, 0)).toBe(true);
    hold.release();
    await synced;
    expect([parts.cache.has(1), parts.cache.has(2), parts.table.count]).toEqual([false, true, 1]);
    expect(parts.writer.statistics.redirtiedPages).toBe(1);
    expect((await read(parts, PAGE, PAGE)).equals(newer)).toBe(true);
    await parts.target.sync();
    expect(parts.disk.subarray(PAGE, 2 * PAGE).equals(newer)).toBe(true);
    expect([parts.cache.has(1), parts.table.count]).toEqual([true, 0]);
  });

  test('is cached again by the next read when it has left the cache', async () => {
    const parts = makeWriteBack({ tuning: LAZY });
    dirty(parts, [1]);
    await parts.target.sync();
    parts.cache.flush(1, 1);
    expect((await read(parts, PAGE, PAGE)).equals(contentOf(1))).toBe(true);
    expect(parts.cache.has(1)).toBe(true);
  });
});

describe('the writer begins by itself', () => {
  test('at the high watermark, with the coldest pages, and stops at the low one', async () => {
    const parts = noting({ limitPages: 100, tuning: { highFraction: 0.75, lowFraction: 0.5 } });
    dirty(parts, range(0, 148, 2));
    dirty(parts, [0]); // in use again
    await quiet();
    expect(parts.writes).toEqual([]);
    dirty(parts, [148]);
    await quiet();
    expect(parts.table.count).toBe(50);
    expect(parts.writes.map(([page]) => page)).toEqual(range(2, 52, 2));
  });

  test('with pages that have been dirty for too long, however often they were written', async () => {
    const parts = noting({ tuning: { ageMsMax: 5000 } });
    dirty(parts, [1]);
    parts.clock.turn(3000);
    dirty(parts, [1, 5]);
    parts.clock.turn(1999);
    await quiet();
    expect(parts.writes).toEqual([]);
    parts.clock.turn(1);
    await quiet();
    expect(parts.writes).toEqual([[1, 1]]);
    parts.clock.turn(3000);
    await quiet();
    expect(parts.writes).toEqual([
      [1, 1],
      [5, 1],
    ]);
    expect(parts.clock.nextMs).toBeUndefined();
  });

  test('with a write of many pages, when its time has come', async () => {
    const parts = makeWriteBack({ tuning: { ageMsMax: 5000 } });
    const data = noise(32 * PAGE, 9);
    expect(await writeAtOnce(parts, 0, data)).toBe(false);
    parts.clock.turn(5000);
    await quiet();
    expect(parts.disk.subarray(0, data.length).equals(data)).toBe(true);
  });
});

test('a page that is locked for long does not keep others from their time', async () => {
  const parts = noting({ tuning: { ageMsMax: 5000 } });
  dirty(parts, [1]);
  const hold = parts.storage.holdNext('discard');
  const trimmed = parts.target.trim(0, 4 * PAGE);
  await hold.arrived;
  parts.clock.turn(1000);
  dirty(parts, [9]);
  parts.clock.turn(4000);
  await quiet();
  expect(parts.writes).toEqual([]);
  parts.clock.turn(1000);
  await quiet();
  expect(parts.writes).toEqual([[9, 1]]);
  hold.release();
  await trimmed;
});

test('few writes are under way at a time, fewer while a read waits, more for a flush', async () => {
  const storage = new SteppedStorage(noise(4 * MIB));
  const writerBuffers = new BufferPool(8 * MIB, PAGE);
  const parts = writeBackOn(storage, { limitPages: 100, writerBuffers });
  const writes = (): number => storage.steps.filter(({ what }) => /^write/.test(what)).length;
  const reading = read(parts, 3 * MIB, PAGE);
  await quiet();
  dirty(parts, range(0, 160, 2));
  await quiet();
  expect(writes()).toBe(2);
  await storage.step(0);
  await storage.step(storage.steps.findIndex(({ what }) => /^read/.test(what)));
  await reading;
  while (storage.steps.some(({ what }) => what === 'write is done') || writes() === 2) {
    await storage.step(0);
  }
  expect(writes()).toBe(6);
  void parts.target.sync();
  await quiet();
  expect(writes()).toBe(12);
});

describe('a write that fails', () => {
  test('is tried again after pauses that grow to a minute, and told each time', async () => {
    const parts = noting({ tuning: { ageMsMax: 5000 } });
    parts.storage.failNext('write', 'ENOSPC', 8);
    dirty(parts, [3]);
    parts.clock.turn(5000);
    await quiet();
    const pauses: (number | undefined)[] = [];
    for (let i = 0; i < 8; i++) {
      pauses.push(parts.failures.at(-1)?.retryMs);
      parts.clock.turn((pauses.at(-1) ?? 0) - 1);
      expect(parts.failures.length).toBe(i + 1);
      parts.clock.turn(1);
      await quiet();
    }
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    expect(parts.failures[0]).toMatchObject({ offset: 3 * PAGE, length: PAGE });
    expect([parts.table.count, parts.writer.failure]).toEqual([0, undefined]);
    expect(parts.disk.subarray(3 * PAGE, 4 * PAGE).equals(contentOf(3))).toBe(true);
    parts.storage.failNext('write');
    dirty(parts, [3]);
    await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'io' });
    expect(parts.failures.at(-1)?.retryMs).toBe(1000);
  });

  test('beside others has one pause with them, which grows once', async () => {
    const parts = noting({ tuning: { ageMsMax: 5000 } });
    parts.storage.failNext('write', 'EIO', 9);
    dirty(parts, [0, 2, 4]);
    parts.clock.turn(5000);
    const pauses: number[][] = [];
    for (const pauseMs of [1000, 2000, 4000]) {
      await quiet();
      pauses.push(parts.failures.splice(0).map(({ retryMs }) => retryMs));
      parts.clock.turn(pauseMs);
    }
    expect(pauses).toEqual([1000, 2000, 4000].map((ms) => [ms, ms, ms]));
    await quiet();
    expect(parts.table.count).toBe(0);
  });

  test('keeps its page, which reads and other writes do not notice', async () => {
    const parts = makeWriteBack({ tuning: LAZY });
    parts.storage.failNext('write');
    dirty(parts, [3]);
    await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'io' });
    expect((await read(parts, 3 * PAGE, PAGE)).equals(contentOf(3))).toBe(true);
    expect(parts.writer.failure?.kind).toBe('io');
    dirty(parts, [4]);
    expect(parts.table.failedCount).toBe(1);
  });

  test('fails the flush when all others are written; the next flush tries again', async () => {
    const parts = makeWriteBack({ tuning: LAZY });
    dirty(parts, range(0, 60, 2));
    parts.storage.failNext('write', 'ENOSPC');
    await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'no-space' });
    // What was written is safe by now: the next one may never come.
    expect([parts.table.count, parts.storage.requests.sync]).toEqual([1, 1]);
    await parts.target.sync();
    expect([parts.table.count, parts.storage.requests.sync]).toEqual([0, 2]);
    expect(parts.clock.nextMs).toBeUndefined();
  });

  test('keeps from the image no page but the one that it can not take', async () => {
    const parts = noting({ tuning: LAZY });
    const note = parts.storage.onWrite;
    parts.storage.onWrite = (offset, length) => {
      const [first, count] = [offset / PAGE, length / PAGE];
      if (first <= 5 && 5 < first + count) throw new Error('a bad sector');
      note?.(offset, length);
    };
    dirty(parts, range(0, 10));
    await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'io' });
    expect(parts.table.count).toBe(10);
    await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'io' });
    expect([parts.table.count, parts.table.has(5)]).toEqual([1, true]);
    dirty(parts, [4, 6]);
    await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'io' });
    expect([parts.table.count, parts.table.has(5)]).toEqual([1, true]);
  });

  test('is tried again after its pause also where nothing goes for its age', async () => {
    const parts = makeWriteBack({ tuning: LAZY });
    parts.storage.failNext('write');
    dirty(parts, [3]);
    await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'io' });
    dirty(parts, [9]);
    parts.clock.turn(1000);
    await quiet();
    expect([3, 9].map((page) => parts.table.has(page))).toEqual([false, true]);
  });

  test('does not shorten the pauses of others by its success', async () => {
    const parts = makeWriteBack({ tuning: { ageMsMax: 500 } });
    parts.storage.onWrite = (offset) => {
      if (offset === 0) throw new Error('a bad sector');
    };
    dirty(parts, [0, 9]);
    parts.clock.turn(500);
    for (const ms of [1000, 2000, 4000]) {
      await quiet();
      expect(parts.failures.at(-1)?.retryMs).toBe(ms);
      dirty(parts, [9]);
      parts.clock.turn(500);
      await quiet();
      expect(parts.table.has(9)).toBe(false);
      parts.clock.turn(ms - 500);
    }
  });
});

describe('a flush', () => {
  test('waits for what was dirty when it was asked for, not for what came since', async () => {
    const storage = new SteppedStorage(noise(MIB));
    const parts = writeBackOn(storage, { tuning: LAZY });
    dirty(parts, [1]);
    let isDone = false;
    const done = parts.target.sync().then(() => {
      isDone = true;
    });
    dirty(parts, [200]);
    while (!isDone) {
      expect(storage.steps.length).toBe(1);
      await storage.step(0);
    }
    await done;
    expect(parts.table.has(200)).toBe(true);
  });

  test('waits for a page that failed before, and is tried again', async () => {
    const parts = makeWriteBack({ tuning: LAZY });
    dirty(parts, [1]);
    parts.storage.failNext('write');
    await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'io' });
    const hold = parts.storage.holdNext('write');
    let isDone = false;
    const done = parts.target.sync().then(() => {
      isDone = true;
    });
    await hold.arrived;
    await quiet();
    expect([isDone, parts.storage.requests.sync]).toEqual([false, 1]);
    hold.release();
    await done;
    expect(parts.disk.subarray(PAGE, 2 * PAGE).equals(contentOf(1))).toBe(true);
  });

  test('waits for a page that was written again while it was under way', async () => {
    const storage = new SteppedStorage(noise(MIB));
    const parts = writeBackOn(storage, { tuning: LAZY });
    dirty(parts, [1]);
    const first = parts.target.sync();
    const newer = noise(PAGE, 50);
    expect(parts.target.tryWrite(PAGE, PAGE, newer, 0)).toBe(true);
    const second = parts.target
      .sync()
      .then(() => storage.disk.subarray(PAGE, 2 * PAGE).equals(newer));
    await quiet();
    expect(storage.steps.length).toBe(1); // never two writes of one page at a time
    while (storage.steps.length > 0) await storage.step(0);
    await first;
    expect(await second).toBe(true);
  });

  test('finds what it waits for behind pages that came since', async () => {
    const storage = new SteppedStorage(noise(MIB));
    const parts = writeBackOn(storage);
    dirty(parts, [1]);
    parts.clock.turn(5000);
    dirty(parts, [1]); // while it is under way, so that it is queued when that ends
    let isDone = false;
    const done = parts.target.sync().then(() => {
      isDone = true;
    });
    dirty(parts, [200]);
    await quiet();
    for (; !isDone; await storage.step(0)) expect(storage.steps.length).toBeGreaterThan(0);
    await done;
    expect(storage.disk.subarray(PAGE, 2 * PAGE).equals(contentOf(1))).toBe(true);
    expect(parts.table.has(1)).toBe(false);
  });

  test('does not take a page that is being zeroed, nor as the neighbour of another', async () => {
    const parts = noting({ tuning: LAZY });
    dirty(parts, [4, 5, 6]);
    const hold = parts.storage.holdNext('writeZeroes');
    const zeroed = parts.target.writeZeroes(5 * PAGE, PAGE, true);
    await hold.arrived;
    const synced = parts.target.sync();
    await quiet();
    expect(parts.writes).toEqual([
      [4, 1],
      [6, 1],
    ]);
    hold.release();
    await Promise.all([zeroed, synced]);
    expect([parts.table.count, parts.writes.length]).toEqual([0, 2]);
    expect(parts.disk.subarray(5 * PAGE, 6 * PAGE).equals(Buffer.alloc(PAGE))).toBe(true);
  });

  test('goes on when the pages it waits for are locked, and let go', async () => {
    const parts = makeWriteBack({ tuning: LAZY });
    dirty(parts, [1, 2]);
    const hold = parts.storage.holdNext('discard');
    const trimmed = parts.target.trim(0, MIB);
    await hold.arrived;
    let isDone = false;
    const synced = parts.target.sync().then(() => {
      isDone = true;
    });
    await quiet();
    expect([isDone, parts.storage.requests.write]).toEqual([false, 0]);
    hold.release();
    await Promise.all([trimmed, synced]);
    expect(parts.table.count).toBe(0);
  });
});

/** An export whose writer finds no small buffer until `giveBack` is called. */
async function withoutBuffers(options: WriteBackOptions = {}) {
  const writerBuffers = new BufferPool(1, PAGE);
  const parts = makeWriteBack({ tuning: LAZY, writerBuffers, ...options });
  const takeAll = async () => {
    const count = writerBuffers.smallCount;
    const lent = await Promise.all(Array.from({ length: count }, () => writerBuffers.wait(PAGE)));
    return () => {
      for (const piece of lent) writerBuffers.release(piece);
    };
  };
  return { ...parts, takeAll, giveBack: await takeAll() };
}

test('a buffer that was waited for takes no more pages than it has room for', async () => {
  const parts = await withoutBuffers();
  const data = noise(32 * PAGE, 9);
  await writeAtOnce(parts, 0, data.subarray(0, PAGE));
  const synced = parts.target.sync();
  await quiet();
  await writeAtOnce(parts, PAGE, data.subarray(PAGE));
  parts.giveBack();
  await synced;
  await parts.target.sync();
  expect(parts.disk.subarray(0, data.length).equals(data)).toBe(true);
  expect(parts.writerBuffers.lentBytes).toBe(0);
});

test('a buffer that was waited for and is not needed any more is not used later', async () => {
  const parts = await withoutBuffers();
  await writeAtOnce(parts, 0, noise(PAGE, 1));
  const synced = parts.target.sync();
  await quiet();
  await parts.target.trim(0, PAGE);
  await synced;
  parts.giveBack();
  await quiet();
  expect(parts.writerBuffers.lentBytes).toBe(0);
  const giveBack = await parts.takeAll();
  await writeAtOnce(parts, PAGE, noise(PAGE, 2));
  const later = parts.target.sync();
  await quiet();
  expect(parts.storage.requests.write).toBe(0);
  giveBack();
  await later;
  expect(parts.disk.subarray(PAGE, 2 * PAGE).equals(noise(PAGE, 2))).toBe(true);
});

test('who waits for room is let in when the page in its way was damaged in memory', async () => {
  const parts = await withoutBuffers({ limitPages: 1 });
  await writeAtOnce(parts, 0, noise(PAGE, 1));
  parts.frontswap.flush(0);
  const written = writeAtOnce(parts, 5 * PAGE, noise(PAGE, 5));
  await quiet();
  parts.giveBack();
  await written;
  expect(parts.disk.subarray(5 * PAGE, 6 * PAGE).equals(noise(PAGE, 5))).toBe(true);
});

test('a page that is damaged and written again during a flush fails it all the same', async () => {
  const storage = new SteppedStorage(noise(MIB));
  const parts = writeBackOn(storage, { tuning: LAZY });
  await writeAtOnce(parts, 0, noise(2 * PAGE, 9));
  parts.frontswap.flush(1);
  const synced = expect(parts.target.sync()).rejects.toThrow(/1 written pages of "stepped"/);
  await quiet();
  await writeAtOnce(parts, PAGE, noise(PAGE, 3)); // the disk need not have it when this flush ends
  while (storage.steps.length > 0) await storage.step(0);
  await synced;
});

test('a page found damaged on its way to the disk fails the flush, and keeps no other', async () => {
  const parts = makeWriteBack({ tuning: LAZY });
  const data = noise(5 * PAGE, 9);
  await writeAtOnce(parts, 0, data);
  for (const page of [0, 3]) parts.frontswap.flush(page);
  await expect(parts.target.sync()).rejects.toThrow(/2 written pages of "memory" were damaged/);
  for (const page of [1, 2, 4]) {
    const [from, to] = [page * PAGE, (page + 1) * PAGE];
    expect(parts.disk.subarray(from, to).equals(data.subarray(from, to))).toBe(true);
  }
  expect([parts.table.count, parts.writerBuffers.lentBytes]).toEqual([2, 0]);
});

test('exports that share few buffers all get their turn', async () => {
  const writerBuffers = new BufferPool(1, PAGE); // four of each size
  const storages = [1, 2, 3].map(() => new SteppedStorage(noise(MIB)));
  const exports = storages.map((each) => writeBackOn(each, { tuning: LAZY, writerBuffers }));
  for (const parts of exports) dirty(parts, range(0, 60, 2));
  let doneCount = 0;
  for (const { target } of exports) void target.sync().then(() => doneCount++);
  for (let i = 0; doneCount < 3; i++) {
    if (i > 1000) throw new Error('there is no end to it');
    await quiet();
    expect(storages.flatMap(({ steps }) => steps).length).toBeGreaterThan(0);
    await storages[i % 3]?.step(0);
  }
  expect(writerBuffers.lentBytes).toBe(0);
  expect(exports.map(({ table }) => table.count)).toEqual([0, 0, 0]);
});

describe('closing', () => {
  test('ends a flush that waits, and lets what is under way end', async () => {
    const parts = makeWriteBack();
    dirty(parts, [1]);
    const hold = parts.storage.holdNext('write');
    const synced = parts.target.sync();
    await hold.arrived;
    parts.target.close();
    await expect(synced).rejects.toMatchObject({ kind: 'shutdown' });
    hold.release(new Error('gone'));
    await quiet();
    expect(parts.writerBuffers.lentBytes).toBe(0);
    expect(parts.clock.nextMs).toBeUndefined();
    await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'shutdown' });
  });

  test('lets a write that waits for room go to the disk', async () => {
    const parts = makeWriteBack({ limitPages: 1, tuning: LAZY });
    dirty(parts, [1]);
    const taken = [1, 2, 3, 4].map(() => parts.writerBuffers.take(PAGE));
    const written = write(parts, 9 * PAGE, contentOf(9));
    await quiet();
    expect([parts.storage.requests.write, parts.writeBack.statistics.waits]).toEqual([0, 1]);
    parts.target.close();
    await written;
    expect(parts.disk.subarray(9 * PAGE, 10 * PAGE).equals(contentOf(9))).toBe(true);
    for (const piece of taken) if (piece !== undefined) parts.writerBuffers.release(piece);
    await quiet();
    expect(parts.writerBuffers.lentBytes).toBe(0);
  });

  test('with nothing dirty leaves nothing to flush', async () => {
    const parts = makeWriteBack();
    dirty(parts, [1]);
    await parts.target.sync();
    parts.target.close();
    await parts.target.sync();
    expect(parts.clock.nextMs).toBeUndefined();
  });
});
