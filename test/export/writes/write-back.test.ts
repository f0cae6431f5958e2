import { describe, expect, test } from 'vitest';
import { PIECE_BYTES } from '../../../src/lib/buffer-pool.ts';
import { NO_LOAN } from '../../../src/tmem/lender.ts';
import { KIB, MIB, noise, quiet, read, write } from '../fixture.ts';
import { SteppedStorage } from '../stepped-storage.ts';
import {
  makeWriteBack,
  type WriteBackParts,
  writeAtOnce,
  writeBackOn,
} from './write-back-fixture.ts';

const PAGE = 4 * KIB;
/** Nothing is written before somebody asks for it. */
const LAZY = { ageMsMax: Number.POSITIVE_INFINITY, highFraction: 2 };

/** A stack that takes no new page while `isFull`. */
function fillable(options: Parameters<typeof makeWriteBack>[0] = {}) {
  const memory = { isFull: false };
  const mayAllocate = () => !memory.isFull;
  return { memory, mayAllocate, ...options };
}

describe('a write', () => {
  test('is answered in the same turn, without the disk, and read from memory', async () => {
    const parts = makeWriteBack({ tuning: LAZY });
    const data = noise(3 * PAGE, 9);
    expect(parts.target.tryWrite(PAGE, data.length, data, 0)).toBe(true);
    data.fill(0xaa); // it was copied
    expect((await read(parts, PAGE, 3 * PAGE)).equals(noise(3 * PAGE, 9))).toBe(true);
    const loan = parts.tier.lend(1);
    expect(loan).not.toBe(NO_LOAN);
    parts.lender!.returnLoan(loan);
    expect([parts.storage.requests.write, parts.storage.requests.read]).toEqual([0, 0]);
    expect(parts.disk.equals(noise(MIB))).toBe(true);
  });

  test('takes the place of the clean pages in memory', async () => {
    const parts = makeWriteBack({ tuning: LAZY });
    await read(parts, 0, 3 * PAGE);
    expect(parts.target.tryWrite(PAGE, PAGE, noise(PAGE, 9), 0)).toBe(true);
    expect([0, 1, 2].map((page) => parts.cache.has(page))).toEqual([true, false, true]);
  });

  test('goes over a clean page where that lies, and takes no memory', async () => {
    const { memory, ...options } = fillable({ tuning: LAZY });
    const parts = makeWriteBack(options);
    await read(parts, 0, 3 * PAGE);
    const { usedBytes, pages } = parts.account;
    memory.isFull = true;
    expect(parts.target.tryWrite(PAGE, PAGE, noise(PAGE, 9), 0)).toBe(true);
    expect([parts.account.usedBytes, parts.account.pages]).toEqual([usedBytes, pages]);
    expect([parts.cache.has(1), parts.frontswap.pool.has(0, 1)]).toEqual([false, true]);
    expect((await read(parts, PAGE, PAGE)).equals(noise(PAGE, 9))).toBe(true);
    expect([parts.storage.requests.write, parts.table.count]).toEqual([0, 1]);
  });

  test.each<[string, (parts: WriteBackParts) => void]>([
    ['the limit was lowered', ({ tmem }) => tmem.setLimit(0)],
    ['the cap was lowered', ({ account }) => account.setShare({ capBytes: 0 })],
    ['no new pages are taken', ({ tmem }) => tmem.freeze()],
  ])('goes to the disk, and not over a clean page, where %s', async (_, change) => {
    const parts = makeWriteBack({ tuning: LAZY });
    await read(parts, 0, 3 * PAGE);
    change(parts);
    await parts.target.tryWrite(PAGE, PAGE, noise(PAGE, 9), 0);
    expect([parts.table.count, parts.frontswap.pool.has(0, 1)]).toEqual([0, false]);
    expect(parts.disk.subarray(PAGE, 2 * PAGE).equals(noise(PAGE, 9))).toBe(true);
  });

  test('of a page that is not dirty has clean ones make room where the limit was lowered', async () => {
    const parts = makeWriteBack({ tuning: LAZY, hasHot: false });
    for (let page = 0; page < 224; page += 32) await read(parts, page * PAGE, 32 * PAGE);
    parts.tmem.setLimit(parts.tmem.usedBytes - PAGE);
    expect(parts.tmem.isOverfull).toBe(true);
    expect(parts.target.tryWrite(240 * PAGE, PAGE, noise(PAGE, 9), 0)).toBe(true);
    expect([parts.table.count, parts.frontswap.pool.has(0, 240)]).toEqual([1, true]);
  });

  test('leaves a clean page as it is that somebody is sending', async () => {
    const parts = makeWriteBack({ tuning: LAZY });
    const older = await read(parts, PAGE, PAGE);
    const lender = parts.lender!;
    const loan = parts.cache.lend(1);
    expect(parts.target.tryWrite(PAGE, PAGE, noise(PAGE, 9), 0)).toBe(true);
    const at = lender.loanOffset(loan);
    expect(
      lender
        .loanBuffer(loan)
        .subarray(at, at + PAGE)
        .equals(older),
    ).toBe(true);
    lender.returnLoan(loan);
    expect((await read(parts, PAGE, PAGE)).equals(noise(PAGE, 9))).toBe(true);
  });

  test.each([
    ['is frozen', (parts: WriteBackParts) => parts.tmem.freeze()],
    ['has more than its limit', (parts: WriteBackParts) => parts.tmem.setLimit(0)],
    ['has more than its cap', (parts: WriteBackParts) => parts.account.setShare({ capBytes: 1 })],
  ])('takes no clean page over where the memory %s', async (_, lessen) => {
    const parts = makeWriteBack({ tuning: LAZY });
    await read(parts, 0, 3 * PAGE);
    lessen(parts);
    await writeAtOnce(parts, PAGE, noise(PAGE, 9));
    expect(parts.frontswap.pool.has(0, 1)).toBe(false);
    expect(parts.storage.requests.write).toBe(1);
    expect((await read(parts, PAGE, PAGE)).equals(noise(PAGE, 9))).toBe(true);
  });

  test('of part of a page that is in memory is answered in the same turn', async () => {
    const parts = makeWriteBack({ tuning: LAZY });
    await read(parts, 0, 4 * PAGE);
    const expected = noise(MIB).subarray(0, 4 * PAGE);
    for (const [offset, length] of [
      [3 * PAGE, 100],
      [PAGE - 512, PAGE + 1024],
      [PAGE - 100, 100],
      [3 * PAGE + 7, 50],
      [0, 3 * PAGE + 1],
      [PAGE - 1, 2],
    ] as const) {
      const data = noise(length, offset);
      expect(parts.target.tryWrite(offset, length, data, 0)).toBe(true);
      data.copy(expected, offset);
      expect((await read(parts, 0, 4 * PAGE)).equals(expected)).toBe(true);
    }
    expect(parts.storage.requests.read).toBe(1);
  });

  test('of part of a page that is not waits for the rest of it', async () => {
    const parts = makeWriteBack({ tuning: LAZY });
    const data = noise(100, 9);
    expect(parts.target.tryWrite(PAGE + 7, data.length, data, 0)).toBe(false);
    await write(parts, PAGE + 7, data);
    const expected = noise(MIB).subarray(PAGE, 2 * PAGE);
    data.copy(expected, 7);
    expect((await read(parts, PAGE, PAGE)).equals(expected)).toBe(true);
    expect(parts.writeBack.statistics.mergedPages).toBe(1);
  });

  test('of part of a page never shows the part it reads without the part it writes', async () => {
    const storage = new SteppedStorage(noise(MIB));
    const parts = writeBackOn(storage, { tuning: LAZY });
    const data = noise(512, 9);
    const [written, other] = [write(parts, 0, data), write(parts, 512, data)];
    await quiet();
    expect(storage.steps.length).toBe(1); // the second one waits for the page
    while (storage.steps.length > 0) await storage.step(0);
    await Promise.all([written, other]);
    const page = await read(parts, 0, PAGE);
    expect(page.subarray(0, 1024).equals(Buffer.concat([data, data]))).toBe(true);
    expect(page.subarray(1024).equals(storage.disk.subarray(1024, PAGE))).toBe(true);
  });

  test('of a page that another one is merged into goes behind that', async () => {
    const storage = new SteppedStorage(noise(MIB));
    const parts = writeBackOn(storage, { tuning: LAZY });
    const merged = write(parts, 7, noise(100, 9));
    await quiet();
    expect(storage.steps.length).toBe(1); // the rest of the page is being read
    const data = noise(PAGE, 10);
    expect(parts.target.tryWrite(0, PAGE, data, 0)).toBe(false);
    const written = write(parts, 0, data);
    while (storage.steps.length > 0) await storage.step(0);
    await Promise.all([merged, written]);
    expect((await read(parts, 0, PAGE)).equals(data)).toBe(true);
  });

  test('whose rest can not be read fails and changes nothing', async () => {
    const parts = makeWriteBack({ tuning: LAZY, limitPages: 4 });
    parts.storage.failNext('read');
    await expect(write(parts, PAGE + 512, noise(2 * PAGE, 9))).rejects.toMatchObject({
      kind: 'io',
    });
    expect([parts.table.count, parts.writerBuffers.lentBytes]).toEqual([0, 0]);
    expect(parts.target.tryWrite(8 * PAGE, 4 * PAGE, noise(4 * PAGE, 9), 0)).toBe(true);
    expect((await read(parts, 0, 4 * PAGE)).equals(noise(MIB).subarray(0, 4 * PAGE))).toBe(true);
  });

  test('of any length is taken, long ones by the way that waits', async () => {
    const parts = makeWriteBack({ tuning: LAZY });
    const data = noise(PIECE_BYTES, 3);
    expect(parts.target.tryWrite(512, data.length, data, 0)).toBe(false);
    await write(parts, 512, data.subarray(0, PIECE_BYTES - 512));
    expect(parts.target.tryWrite(0, 16 * PAGE, data, 0)).toBe(true);
    expect((await read(parts, 0, 16 * PAGE)).equals(data.subarray(0, 16 * PAGE))).toBe(true);
  });
});

describe('the end of an image that is no multiple of the page', () => {
  test('is written in the same turn, and nothing behind it', async () => {
    const parts = makeWriteBack({ sizeBytes: 5 * PAGE + 512, tuning: LAZY });
    const data = noise(PAGE + 512, 9);
    expect(parts.target.tryWrite(4 * PAGE, data.length, data, 0)).toBe(true);
    await parts.target.sync();
    expect(parts.disk.subarray(4 * PAGE).equals(data)).toBe(true);
    expect((await read(parts, 4 * PAGE, PAGE + 512)).equals(data)).toBe(true);
  });

  test('keeps what is before the written bytes, and is taken by the disk where memory takes nothing', async () => {
    const parts = makeWriteBack({ sizeBytes: 5 * PAGE + 512, tuning: LAZY });
    const expected = Buffer.from(parts.disk);
    const cut = (offset: number, bytes: number) => {
      const data = noise(bytes, offset);
      data.copy(expected, offset);
      return [offset, data] as const;
    };
    await write(parts, ...cut(5 * PAGE + 10, 502));
    expect((await read(parts, 0, expected.length)).equals(expected)).toBe(true);
    await parts.target.sync();
    parts.tmem.freeze();
    await writeAtOnce(parts, ...cut(4 * PAGE, PAGE + 512));
    expect(parts.disk.equals(expected)).toBe(true);
  });

  test('is completed with zeros, in either way of writing', async () => {
    for (const way of [writeAtOnce, write]) {
      const parts = makeWriteBack({ sizeBytes: 5 * PAGE + 512, tuning: LAZY });
      await read(parts, 0, PAGE);
      await writeAtOnce(parts, 0, noise(100, 9)); // what is merged leaves nothing behind
      const { read: reads } = parts.storage.requests;
      await way(parts, 5 * PAGE, noise(512, 9));
      const page = Buffer.alloc(PAGE, 1);
      parts.tier.get(5, page, 0);
      expect(page.subarray(512).equals(Buffer.alloc(PAGE - 512))).toBe(true);
      expect(parts.storage.requests.read).toBe(reads);
    }
  });
});

describe('when there are as many dirty pages as may be', () => {
  test('the coldest goes and the new write waits, instead of being refused', async () => {
    const parts = makeWriteBack({ limitPages: 4, tuning: LAZY });
    for (const page of [7, 5, 1, 3, 7]) await writeAtOnce(parts, page * PAGE, noise(PAGE, page));
    const hold = parts.storage.holdNext('write');
    const written = writeAtOnce(parts, 9 * PAGE, noise(PAGE, 9));
    expect((await hold.arrived).offset).toBe(5 * PAGE);
    hold.release();
    expect(await written).toBe(false);
    expect([1, 3, 5, 7, 9].map((page) => parts.table.has(page))).toEqual([
      true,
      true,
      false,
      true,
      true,
    ]);
    expect(parts.writeBack.statistics).toMatchObject({ waits: 1, fallThroughPages: 0 });
  });

  test('pages that are dirty already are written in the same turn', async () => {
    const parts = makeWriteBack({ limitPages: 2, tuning: LAZY });
    for (const page of [1, 2]) await writeAtOnce(parts, page * PAGE, noise(PAGE, page));
    expect(parts.target.tryWrite(PAGE, 2 * PAGE, noise(2 * PAGE, 8), 0)).toBe(true);
    expect(parts.target.tryWrite(PAGE, 3 * PAGE, noise(3 * PAGE, 8), 0)).toBe(false);
  });

  test('those who wait come in one by one, and none is refused', async () => {
    const parts = makeWriteBack({ limitPages: 8 });
    const writes = Array.from({ length: 40 }, (_, i) =>
      write(parts, 2 * i * PAGE, noise(PAGE, i + 1)),
    );
    await Promise.all(writes);
    expect(parts.writeBack.statistics).toMatchObject({ waits: 32, fallThroughPages: 0 });
    await parts.target.sync();
    expect(parts.target.tryWrite(200 * PAGE, 8 * PAGE, noise(8 * PAGE), 0)).toBe(true);
    for (let i = 0; i < 40; i++) {
      const page = parts.disk.subarray(2 * i * PAGE, (2 * i + 1) * PAGE);
      expect(page.equals(noise(PAGE, i + 1))).toBe(true);
    }
  });

  test('one of several pages does not wait for the age of those that are few', async () => {
    const parts = makeWriteBack({ limitPages: 8, tuning: { ...LAZY, lowFraction: 1 } });
    for (const page of [1, 3, 5]) await writeAtOnce(parts, page * PAGE, noise(PAGE, page));
    await write(parts, 10 * PAGE, noise(6 * PAGE, 3));
    expect(parts.table.count).toBe(8);
  });

  test('one that came before there was anything to write does not wait for its age', async () => {
    const parts = makeWriteBack({ limitPages: 8, tuning: { ageMsMax: 5000, highFraction: 2 } });
    await writeAtOnce(parts, 0, noise(PAGE));
    await parts.target.sync(); // a timer is left
    const writes = [10, 20].map((page) => write(parts, page * PAGE, noise(5 * PAGE, page)));
    await Promise.all(writes);
    expect(parts.writeBack.statistics).toMatchObject({ waits: 1, fallThroughPages: 0 });
  });

  test('a request of more pages than may be is taken all the same', async () => {
    const parts = makeWriteBack({ limitPages: 2 });
    await writeAtOnce(parts, 0, noise(10 * PAGE, 4));
    expect(parts.table.count).toBeLessThanOrEqual(2);
    expect((await read(parts, 0, 10 * PAGE)).equals(noise(10 * PAGE, 4))).toBe(true);
    await parts.target.sync();
    expect(parts.disk.subarray(0, 10 * PAGE).equals(noise(10 * PAGE, 4))).toBe(true);
  });

  test('and the disk fails, writes go to the disk and say so; none waits for ever', async () => {
    const parts = makeWriteBack({ limitPages: 2 });
    for (const page of [1, 2]) await writeAtOnce(parts, page * PAGE, noise(PAGE, page));
    await quiet();
    parts.storage.onWrite = () => {
      throw new Error('the disk is gone');
    };
    await writeAtOnce(parts, 4 * PAGE, noise(PAGE, 4));
    await writeAtOnce(parts, 5 * PAGE, noise(PAGE, 5)).catch(() => undefined);
    await expect(writeAtOnce(parts, 6 * PAGE, noise(PAGE, 6))).rejects.toThrow(/gone/);
    expect((await read(parts, 4 * PAGE, PAGE)).equals(noise(PAGE, 4))).toBe(true);
    parts.storage.onWrite = undefined;
    await parts.target.sync();
    expect(parts.disk.subarray(4 * PAGE, 5 * PAGE).equals(noise(PAGE, 4))).toBe(true);
  });

  test('one that waits gets in when room comes from a write to the disk itself', async () => {
    const options = fillable({ limitPages: 1, tuning: LAZY, hasHot: false });
    const parts = makeWriteBack(options);
    await writeAtOnce(parts, 0, noise(PAGE, 1));
    options.memory.isFull = true;
    const hold = parts.storage.holdNext('write');
    const newer = writeAtOnce(parts, 0, noise(PAGE, 2)); // is refused, and drops the older
    await hold.arrived;
    const waiting = writeAtOnce(parts, PAGE, noise(PAGE, 3));
    await quiet();
    hold.release();
    await Promise.all([newer, waiting]);
    expect(parts.disk.subarray(0, PAGE).equals(noise(PAGE, 2))).toBe(true);
  });
});

describe('a page that memory refuses', () => {
  test('is on the disk when its write is answered, and readable before', async () => {
    const options = fillable({ tuning: LAZY });
    const parts = makeWriteBack(options);
    options.memory.isFull = true;
    const hold = parts.storage.holdNext('write');
    const data = noise(3 * PAGE, 5);
    let isAnswered = false;
    const written = Promise.resolve(parts.target.tryWrite(PAGE, data.length, data, 0)).then(() => {
      isAnswered = true;
    });
    data.fill(0xaa); // it was copied
    await hold.arrived;
    expect((await read(parts, PAGE, 3 * PAGE)).equals(noise(3 * PAGE, 5))).toBe(true);
    expect(isAnswered).toBe(false);
    hold.release();
    await written;
    expect(parts.disk.subarray(PAGE, 4 * PAGE).equals(noise(3 * PAGE, 5))).toBe(true);
    expect([parts.table.count, parts.tier.isHeld(1), parts.buffers.lentBytes]).toEqual([
      0,
      false,
      0,
    ]);
    options.memory.isFull = false;
    expect(await writeAtOnce(parts, PAGE, data)).toBe(true);
  });

  test('has a place of its own while another is on its way to the disk', async () => {
    const parts = makeWriteBack({ tuning: LAZY });
    await read(parts, 0, 16 * PAGE); // what was clean is not to come back
    parts.tmem.freeze();
    const holds = [parts.storage.holdNext('write'), parts.storage.holdNext('write')];
    const pages = [1, 2, 9]; // neighbours too go each by itself
    const expected = Buffer.from(parts.disk);
    for (const page of pages) noise(PAGE, page).copy(expected, page * PAGE);
    const reads = () => read(parts, 0, 16 * PAGE);
    const written = pages.map((page) => writeAtOnce(parts, page * PAGE, noise(PAGE, page)));
    for (const hold of holds) await hold.arrived;
    for (const [i, hold] of holds.entries()) {
      expect((await reads()).equals(expected.subarray(0, 16 * PAGE))).toBe(true);
      hold.release();
      await written[i];
    }
    await Promise.all(written);
    expect(parts.disk.equals(expected)).toBe(true);
    expect((await reads()).equals(expected.subarray(0, 16 * PAGE))).toBe(true);
  });

  test('is not read back as it was by a read that begins before the disk has it', async () => {
    const storage = new SteppedStorage(noise(MIB));
    const options = fillable({ tuning: LAZY });
    const parts = writeBackOn(storage, options);
    let reads = 0;
    storage.fateOf = (what) => (what === 'read' && reads++ === 0 ? 'fails at once' : 'well');
    const failed = read(parts, 0, PAGE).catch(String);
    const joined = read(parts, 0, PAGE);
    await quiet();
    options.memory.isFull = true;
    const written = writeAtOnce(parts, 0, noise(PAGE, 5));
    await quiet();
    await storage.step(0); // the read fails, and who joined it reads for itself
    expect(await failed).toMatch('failed');
    const next = (what: string) => storage.steps.findIndex((step) => step.what.startsWith(what));
    await storage.step(next('read'));
    while (next('write') >= 0) await storage.step(next('write'));
    await written;
    options.memory.isFull = false;
    while (storage.steps.length > 0) await storage.step(0);
    await joined;
    const last = read(parts, 0, PAGE);
    await quiet();
    while (storage.steps.length > 0) await storage.step(0);
    expect((await last).equals(noise(PAGE, 5))).toBe(true);
  });

  test('goes behind an older version that is under way', async () => {
    const storage = new SteppedStorage(noise(MIB));
    const options = fillable({ tuning: LAZY, hasHot: false });
    const parts = writeBackOn(storage, options);
    await writeAtOnce(parts, 0, noise(PAGE, 1));
    const synced = parts.target.sync();
    await quiet();
    options.memory.isFull = true;
    const written = writeAtOnce(parts, 0, noise(PAGE, 2));
    await quiet();
    expect(storage.steps.map(({ what }) => what)).toEqual(['write changes bytes']);
    expect((await read(parts, 0, PAGE)).equals(noise(PAGE, 2))).toBe(true);
    while (storage.steps.length > 0) await storage.step(0);
    await Promise.all([written, synced]);
    expect(storage.disk.subarray(0, PAGE).equals(noise(PAGE, 2))).toBe(true);
    expect([parts.cache.has(0), parts.table.count]).toEqual([false, 0]);
  });

  test('lowers the limit, which rises again when all is calm', async () => {
    const options = fillable({ limitPages: 1000, tuning: LAZY });
    const parts = makeWriteBack({ ...options, sizeBytes: 4 * MIB, memoryBytes: 16 * MIB });
    const writePages = async (first: number, end: number): Promise<void> => {
      for (let page = first; page < end; page++) {
        await writeAtOnce(parts, page * PAGE, noise(PAGE, page + 1));
      }
    };
    await writePages(0, 400);
    options.memory.isFull = true;
    await writePages(900, 901);
    expect(parts.writeBack.limitPages).toBe(360);
    expect(parts.table.count).toBe(400);
    options.memory.isFull = false;
    await writePages(400, 401);
    expect(parts.table.count).toBeLessThanOrEqual(360);
    expect(parts.writeBack.limitPages).toBe(360);
    for (let i = 0; i < 12; i++) {
      parts.clock.turn(1000);
      await writePages(410 + 50 * i, 460 + 50 * i);
    }
    expect(parts.writeBack.limitPages).toBe(1000);
  });

  test('and the disk too loses nothing that was acknowledged, if memory takes it again', async () => {
    const options = fillable({ tuning: LAZY, hasHot: false });
    const parts = makeWriteBack(options);
    await writeAtOnce(parts, 0, noise(PAGE, 1));
    options.memory.isFull = true;
    const hold = parts.storage.holdNext('write');
    const written = writeAtOnce(parts, 0, noise(PAGE, 2));
    await hold.arrived;
    options.memory.isFull = false;
    hold.release(new Error('no'));
    await expect(written).rejects.toThrow();
    expect((await read(parts, 0, PAGE)).equals(noise(PAGE, 2))).toBe(true);
    await parts.target.sync();
    expect(parts.disk.subarray(0, PAGE).equals(noise(PAGE, 2))).toBe(true);
  });

  test('and the disk too, beyond what is held for that, is an error until it is written', async () => {
    const options = fillable({ tuning: LAZY, hasHot: false });
    const parts = makeWriteBack(options);
    for (let page = 0; page < 65; page++) await writeAtOnce(parts, page * PAGE, noise(PAGE, 1));
    options.memory.isFull = true;
    for (let page = 64; page >= 0; page--) {
      parts.storage.failNext('write');
      const written = writeAtOnce(parts, page * PAGE, noise(PAGE, 2));
      await expect(written).rejects.toMatchObject({ kind: 'io' });
      expect(parts.table.lostCount).toBe(page === 0 ? 1 : 0);
    }
    await expect(read(parts, 0, PAGE)).rejects.toMatchObject({ kind: 'io' });
    await expect(writeAtOnce(parts, 512, noise(512, 3))).rejects.toMatchObject({ kind: 'io' });
    await expect(parts.target.sync()).rejects.toMatchObject({ kind: 'io' });
    options.memory.isFull = false;
    await writeAtOnce(parts, 0, noise(PAGE, 4));
    await parts.target.sync();
    expect(parts.disk.subarray(0, PAGE).equals(noise(PAGE, 4))).toBe(true);
  });
});

test('a page that was damaged in memory is an error, and never what the disk has', async () => {
  const parts = makeWriteBack({ tuning: LAZY });
  for (const page of [1, 2, 3]) await writeAtOnce(parts, page * PAGE, noise(PAGE, page));
  parts.frontswap.flush(2);
  await expect(read(parts, 0, 4 * PAGE)).rejects.toMatchObject({ kind: 'io' });
  await expect(parts.target.sync()).rejects.toThrow(/1 written pages of "memory" were damaged/);
  expect(parts.disk.subarray(3 * PAGE, 4 * PAGE).equals(noise(PAGE, 3))).toBe(true);
  expect(parts.buffers.lentBytes).toBe(0);
  await writeAtOnce(parts, 2 * PAGE, noise(PAGE, 9));
  await parts.target.sync();
  expect((await read(parts, 2 * PAGE, PAGE)).equals(noise(PAGE, 9))).toBe(true);
});

test('a read that fails for a lost page ends when its other reads have', async () => {
  const parts = makeWriteBack({ tuning: LAZY });
  await writeAtOnce(parts, 2 * PAGE, noise(PAGE, 2));
  parts.frontswap.flush(2);
  const hold = parts.storage.holdNext('read');
  const failed = read(parts, PAGE, 2 * PAGE).catch(String);
  await hold.arrived;
  await quiet();
  expect(parts.buffers.lentBytes).toBeGreaterThan(0); // the disk still fills it
  hold.release();
  expect(await failed).toMatch('damaged in memory');
  expect(parts.buffers.lentBytes).toBe(0);
});

test('memory that is short has dirty pages written, for a while', async () => {
  const parts = makeWriteBack({ sizeBytes: 4 * MIB });
  for (let page = 0; page < 700; page++) await writeAtOnce(parts, page * PAGE, noise(PAGE, 7));
  parts.writeBack.reduce(100 * PAGE);
  await quiet();
  expect(parts.writeBack.limitPages).toBe(600);
  expect(parts.table.count).toBeLessThanOrEqual(300);
});
