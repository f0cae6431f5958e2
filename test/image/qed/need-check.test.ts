import { describe, expect, it } from 'vitest';
import { BlockImage } from '../../../src/image/image.ts';
import { qedDriver } from '../../../src/image/qed/driver.ts';
import { readQedHeader } from '../../../src/image/qed/header.ts';
import { QUIET_MS } from '../../../src/image/qed/need-check.ts';
import { QedFormat } from '../../../src/image/qed/qed.ts';
import { createOn, emptyContainer, FaultyContainer } from '../appended/images.ts';

/** Timers that a test fires; how many are set shows. */
class HandTimers {
  readonly set = new Set<() => void>();
  readonly delays: number[] = [];
  readonly after = (ms: number, then: () => void) => {
    this.delays.push(ms);
    this.set.add(then);
    return () => this.set.delete(then);
  };

  fire(): void {
    const due = [...this.set];
    this.set.clear();
    for (const then of due) then();
  }
}

async function opened() {
  const container = emptyContainer();
  await createOn(qedDriver, container, 64 * 1024 * 1024);
  const storage = new FaultyContainer(container);
  const header = await readQedHeader(storage);
  const timers = new HandTimers();
  const { after } = timers;
  const format = await QedFormat.open(storage, header, { tableBytesMax: 65536, after });
  const image = new BlockImage({ name: 'a', identity: 'a', medium: 'a', format });
  const isMarked = async () => (await qedDriver.info(container)).isDirty;
  const write = (offset: number, length = 4096) =>
    image.write(Buffer.alloc(length, 1), 0, length, offset);
  return { storage, format, image, timers, isMarked, write };
}

const turns = async (count = 20) => {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
};

describe('the mark that a QED image needs a check', () => {
  it('is durable before the first data of an allocation is written', async () => {
    const { storage, write, isMarked } = await opened();
    expect(await isMarked()).toBe(false);
    const sync = storage.holdNext('sync');
    const writing = write(0);
    await sync.arrived;
    expect(await isMarked()).toBe(true);
    expect(storage.requests.write).toBe(1);
    sync.release();
    await writing;
    expect(storage.requests.write).toBeGreaterThan(1);
  });

  it('is taken away when nothing was allocated for a while, and set again by the next', async () => {
    const { timers, write, isMarked } = await opened();
    await write(0);
    expect(timers.delays).toEqual([QUIET_MS]);
    timers.fire();
    await turns();
    expect(await isMarked()).toBe(false);
    await write(0, 512); // where data is already
    expect(await isMarked()).toBe(false);
    await write(10 * 65536);
    expect(await isMarked()).toBe(true);
  });

  it('waits while an allocation is under way', async () => {
    const { storage, timers, write, isMarked } = await opened();
    await write(0);
    const slow = storage.holdNext('write');
    const writing = write(5 * 65536);
    await slow.arrived;
    expect(timers.set.size).toBe(0);
    slow.release();
    await writing;
    expect(timers.set.size).toBe(1);
    expect(await isMarked()).toBe(true);
  });

  it.each([
    ['is set again by an allocation that comes while it is being taken away', undefined],
    ['fails no write by not being taken away', new Error('not now')],
  ])('%s', async (_what, failure) => {
    const { storage, timers, write, isMarked } = await opened();
    await write(0);
    const sync = storage.holdNext('sync');
    timers.fire();
    await sync.arrived;
    const writing = write(5 * 65536);
    await turns();
    sync.release(failure);
    await writing;
    expect(await isMarked()).toBe(true);
  });

  it('stays when it cannot be taken away safely, until a later try', async () => {
    const { storage, timers, write, isMarked } = await opened();
    await write(0);
    storage.failNext('sync');
    timers.fire();
    await turns();
    expect(await isMarked()).toBe(true);
    timers.fire();
    await turns();
    expect(await isMarked()).toBe(false);
  });

  it('is set again by the next allocation when it is not known whether it was taken away', async () => {
    const { storage, timers, image, write, isMarked } = await opened();
    await write(0);
    storage.onSync = async () => {
      if (!(await isMarked())) throw new Error('not durable');
    };
    timers.fire();
    await turns();
    storage.onSync = undefined;
    expect(await isMarked()).toBe(false);
    expect(timers.set.size).toBe(1); // the storage may have it still
    await write(10 * 65536);
    expect(await isMarked()).toBe(true);
    await image.close();
    expect(await isMarked()).toBe(false);
  });

  it('is taken away when the image is closed, and no timer is left', async () => {
    const { image, timers, write, isMarked } = await opened();
    await write(0);
    await image.close();
    expect(timers.set.size).toBe(0);
    expect(await isMarked()).toBe(false);
  });

  it('refuses the write when it cannot be set', async () => {
    const { storage, write } = await opened();
    storage.failNext('write', 'ENOSPC');
    await expect(write(0)).rejects.toMatchObject({ kind: 'no-space' });
    await write(0);
  });
});

describe('allocations in a QED image', () => {
  it('of different clusters proceed at once, and of one cluster in turn', async () => {
    const { storage, write } = await opened();
    await write(100 * 65536); // the table is there
    const held = [0, 1, 2].map(() => storage.holdNext('write'));
    const writes = [write(0), write(65536), write(2 * 65536), write(2 * 65536 + 8192)];
    await Promise.all(held.map(({ arrived }) => arrived));
    const before = storage.requests.write;
    await turns();
    expect(storage.requests.write).toBe(before); // the fourth waits for the third
    for (const { release } of held) release();
    await Promise.all(writes);
  });

  it('cost one sync for a flush of any number, and a second for a new table', async () => {
    const { storage, image, write } = await opened();
    await write(0);
    storage.requests.sync = 0;
    await image.sync();
    expect(storage.requests.sync).toBe(2);
    for (let i = 1; i < 50; i++) await write(i * 65536);
    await image.sync();
    expect(storage.requests.sync).toBe(3);
  });
});
