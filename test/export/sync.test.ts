import { getEventListeners } from 'node:events';
import { expect, onTestFinished, test, vi } from 'vitest';
import { TmemError } from '../../src/lib/errors.ts';
import { KIB, makeExport, noise, quiet, write } from './fixture.ts';
import { makeWriteBack, writeAtOnce } from './writes/write-back-fixture.ts';

/** Whether a promise has been fulfilled by now. */
function watch(promise: Promise<void>): { state: string } {
  const watched = { state: 'pending' };
  promise.then(
    () => {
      watched.state = 'done';
    },
    () => {
      watched.state = 'failed';
    },
  );
  return watched;
}

test('a sync that began before a write ended does not count for it', async () => {
  const parts = makeExport();
  const { storage, target } = parts;
  const first = storage.holdNext('sync');
  const second = storage.holdNext('sync');
  const before = watch(target.sync());
  await write(parts, 0, noise(4 * KIB));
  const mine = watch(target.sync());
  first.release();
  await quiet();
  expect([before.state, mine.state]).toEqual(['done', 'pending']);
  expect(storage.requests.sync).toBe(2);
  second.release();
  await quiet();
  expect(mine.state).toBe('done');
});

test('an export tells whether a sync is under way, until the last has ended', async () => {
  const { storage, target } = makeExport();
  const before = target.isSyncing;
  const first = storage.holdNext('sync');
  const second = storage.holdNext('sync');
  void target.sync();
  void target.sync();
  const during = target.isSyncing;
  first.release();
  await quiet();
  const between = target.isSyncing;
  second.release();
  await quiet();
  expect([before, during, between, target.isSyncing]).toEqual([false, true, true, false]);
});

test('all who come while a sync runs share the next', async () => {
  const { storage, target } = makeExport();
  const hold = storage.holdNext('sync');
  const all = [target.sync(), target.sync(), target.sync(), target.sync()];
  hold.release();
  await Promise.all(all);
  expect(storage.requests.sync).toBe(2);
  await target.sync();
  expect(storage.requests.sync).toBe(3);
});

test('who comes while a later sync runs gets one of its own, not one that is over', async () => {
  const { storage, target } = makeExport();
  for (let round = 1; round <= 3; round++) {
    const hold = storage.holdNext('sync');
    const first = target.sync();
    const second = watch(target.sync());
    await quiet();
    expect(second.state).toBe('pending');
    hold.release();
    await first;
    await quiet();
    expect([second.state, storage.requests.sync]).toEqual(['done', 2 * round]);
  }
});

test('a sync that failed is told to those who asked for it, and not to the next', async () => {
  const { storage, target } = makeExport();
  const hold = storage.holdNext('sync');
  const first = watch(target.sync());
  const second = watch(target.sync());
  hold.release(new Error('lost'));
  await quiet();
  expect([first.state, second.state]).toEqual(['failed', 'done']);
});

test('a shared sync that failed is told to all who share it', async () => {
  const { storage, target } = makeExport();
  const hold = storage.holdNext('sync');
  storage.failNext('sync');
  const first = watch(target.sync());
  const sharers = [watch(target.sync()), watch(target.sync())];
  hold.release();
  await quiet();
  expect(first.state).toBe('done');
  expect(sharers.map(({ state }) => state)).toEqual(['failed', 'failed']);
  await target.sync();
});

test('a read-only export has nothing to sync', async () => {
  const { storage, target } = makeExport({ isReadOnly: true });
  await target.sync();
  expect(storage.requests.sync).toBe(0);
});

test('a swap device has nothing to sync, and is written back for that by nobody', async () => {
  const { storage, table, target, ...parts } = makeWriteBack({ mode: 'swap' });
  await writeAtOnce({ target, ...parts }, 0, noise(8 * KIB, 2));
  await target.sync();
  expect([table.count, storage.requests.write, storage.requests.sync]).toEqual([2, 0, 0]);
});

/** How a disk fails of which no sync will work any more. */
const NO_SYNC = new TmemError('io', 'cannot sync', { context: { isFinal: true } });

test('a drain ends when what is left cannot be written without a sync that will never work', async () => {
  const { storage, target, table, ...parts } = makeWriteBack();
  await write({ target, ...parts }, 0, noise(4 * KIB, 2));
  const fail = () => {
    throw NO_SYNC;
  };
  [storage.onWrite, storage.onSync] = [fail, fail];
  await expect(target.drain(new AbortController().signal)).rejects.toBe(NO_SYNC);
  expect(table.count).toBe(1);
});

test('a drain ends when no sync will ever work, though not before what is left is written', async () => {
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
  for (const parts of [makeExport(), makeWriteBack()]) {
    const { storage, target, disk } = parts;
    storage.onSync = () => {
      throw NO_SYNC;
    };
    const written = noise(4 * KIB, 2);
    await write(parts, 0, written);
    storage.failNext('write'); // of write-back alone: the other has written
    const drained = expect(target.drain(new AbortController().signal)).rejects.toThrow(
      'cannot sync',
    );
    await vi.advanceTimersByTimeAsync(10_000);
    await drained;
    expect(disk.subarray(0, 4 * KIB).equals(written)).toBe(true);
  }
});

test('a drain that is ended says what the disk said last', async () => {
  const { storage, target } = makeExport();
  storage.onSync = () => {
    throw new TmemError('no-space', 'it is full');
  };
  const ending = new AbortController();
  const drained = expect(target.drain(ending.signal)).rejects.toThrow('it is full');
  await quiet();
  ending.abort();
  await drained;
  const { target: other, storage: hung } = makeExport();
  const hold = hung.holdNext('sync');
  const waiting = new AbortController();
  const ended = expect(other.drain(waiting.signal)).rejects.toThrow('could not be written in time');
  await hold.arrived;
  waiting.abort();
  await ended;
  hold.release();
});

test('a drain ends when all that is left was lost in memory', async () => {
  const parts = makeWriteBack();
  await writeAtOnce(parts, 0, noise(4 * KIB, 2));
  parts.frontswap.flush(0);
  await expect(parts.target.drain(new AbortController().signal)).rejects.toThrow('damaged');
});

test('a drain leaves nothing on its signal, which may be that of many drains', async () => {
  const { storage, target } = makeExport();
  const { signal } = new AbortController();
  await target.drain(signal);
  const sync = storage.holdNext('sync');
  const running = target.drain(signal);
  expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  sync.release();
  await running;
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});
