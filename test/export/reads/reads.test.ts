import { describe, expect, test } from 'vitest';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { fc } from '../../tools/seed.ts';
import {
  exportOn,
  KIB,
  MIB,
  makeExport,
  makeMemory,
  noise,
  quiet,
  read,
  write,
} from '../fixture.ts';

const PAGE = 4 * KIB;

describe.each([4 * KIB, 16 * KIB, 64 * KIB])('an export with pages of %d bytes', (pageBytes) => {
  const memory = makeMemory({ pageBytes });
  const sizeBytes = 5 * pageBytes + 1234;
  const request = fc.record({
    kind: fc.constantFrom('read', 'read', 'write', 'zeroes', 'forget'),
    at: fc.nat({ max: sizeBytes - 1 }),
    length: fc.integer({ min: 1, max: 3 * pageBytes }),
    seed: fc.integer({ min: 1, max: 99 }),
  });

  test('answers requests of any alignment as a plain disk does', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(request, { maxLength: 12 }), async (requests) => {
        const model = noise(sizeBytes);
        const storage = new MemoryStorage(Buffer.from(model));
        const parts = exportOn(storage, memory);
        for (const { kind, at, length: wanted, seed } of requests) {
          const length = Math.min(wanted, sizeBytes - at);
          if (kind === 'write') {
            const data = noise(length, seed);
            data.copy(model, at);
            await write(parts, at, data);
          } else if (kind === 'zeroes') {
            model.fill(0, at, at + length);
            await parts.target.writeZeroes(at, length, seed % 2 === 0);
          } else if (kind === 'forget') parts.cache.flush(Math.floor(at / pageBytes), 1);
          else {
            const data = await read(parts, at, length);
            expect(data.equals(model.subarray(at, at + length))).toBe(true);
          }
        }
        parts.cache.pool.destroy();
      }),
      { numRuns: 60 },
    );
    expect(memory.buffers.lentBytes).toBe(0);
  });
});

test('the page behind the end of an image is cached with zeros, and answers its part', async () => {
  const parts = makeExport({ sizeBytes: 3 * PAGE + 100 });
  const tail = parts.disk.subarray(3 * PAGE);
  expect((await read(parts, 3 * PAGE, 100)).equals(tail)).toBe(true);
  const page = Buffer.alloc(PAGE, 1);
  expect(parts.cache.get(3, page, 0)).not.toBe(0);
  expect(page.equals(Buffer.concat([tail, Buffer.alloc(PAGE - 100)]))).toBe(true);
  expect((await read(parts, 3 * PAGE + 50, 50)).equals(tail.subarray(50))).toBe(true);
  expect(parts.storage.requests.read).toBe(1);
});

test('what a read found is not read again', async () => {
  const parts = makeExport();
  await read(parts, 0, 8 * PAGE);
  await read(parts, PAGE + 1, 5 * PAGE);
  expect(parts.storage.requests.read).toBe(1);
  expect(parts.target.statistics).toMatchObject({ readHits: 1, readMisses: 1 });
});

test('a read of parts of pages leaves alone what lies beside its bytes', async () => {
  const parts = makeExport();
  await read(parts, 0, 4 * PAGE);
  const { reads } = parts.target;
  for (const [offset, length] of [
    [0, 100],
    [PAGE, PAGE + 1],
    [5, 3 * PAGE],
  ] as const) {
    const to = Buffer.alloc(4 * PAGE, 0xee);
    expect(reads.readCached(offset, length, to, 10)).toBe(0);
    const expected = Buffer.alloc(4 * PAGE, 0xee);
    parts.disk.copy(expected, 10, offset, offset + length);
    expect(to.equals(expected)).toBe(true);
  }
});

describe('missing pages of one request', () => {
  const readsFor = async (cached: number[]) => {
    const parts = makeExport();
    for (const page of cached) parts.cache.put(page, parts.disk, page * PAGE);
    const data = await read(parts, 0, 16 * PAGE);
    expect(data.equals(parts.disk.subarray(0, 16 * PAGE))).toBe(true);
    return parts.storage.requests.read;
  };

  test.each([
    ['all of them', [], 1],
    ['with a small gap between', [5, 6, 7], 1],
    ['with a wide gap between', [5, 6, 7, 8], 2],
    ['at both ends only', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], 2],
    ['every other', [0, 2, 4, 6, 8, 10, 12, 14], 1],
  ])('are read together: %s', async (_, cached, reads) => {
    expect(await readsFor(cached)).toBe(reads);
  });
});

describe('a page that several ask for at once', () => {
  test('is read once', async () => {
    const parts = makeExport();
    const hold = parts.storage.holdNext('read');
    const reads = [read(parts, 0, 2 * PAGE), read(parts, PAGE + 5, 100), read(parts, 0, PAGE)];
    hold.release();
    const [whole, part, first] = await Promise.all(reads);
    expect(whole?.equals(parts.disk.subarray(0, 2 * PAGE))).toBe(true);
    expect(part?.equals(parts.disk.subarray(PAGE + 5, PAGE + 105))).toBe(true);
    expect(first?.equals(parts.disk.subarray(0, PAGE))).toBe(true);
    expect(parts.storage.requests.read).toBe(1);
    expect(parts.target.statistics.joinedPages).toBe(2);
  });

  test('is read once also where it lies in the middle of what another wants', async () => {
    const parts = makeExport();
    const hold = parts.storage.holdNext('read');
    const middle = read(parts, 2 * PAGE, PAGE);
    await hold.arrived;
    const around = read(parts, 0, 5 * PAGE);
    await quiet();
    hold.release();
    await middle;
    expect((await around).equals(parts.disk.subarray(0, 5 * PAGE))).toBe(true);
    expect(parts.storage.requests.read).toBe(3);
    expect(parts.target.statistics.joinedPages).toBe(1);
  });

  test('is read again by who joined a read that failed', async () => {
    const parts = makeExport();
    const hold = parts.storage.holdNext('read');
    const first = read(parts, 0, 4 * PAGE);
    const joined = read(parts, 2 * PAGE, 4 * PAGE);
    hold.release(new Error('the first page is bad'));
    await expect(first).rejects.toThrow('bad');
    expect((await joined).equals(parts.disk.subarray(2 * PAGE, 6 * PAGE))).toBe(true);
    expect(parts.storage.requests.read).toBe(4); // theirs, the rest of ours, and the two joined
    expect(parts.buffers.lentBytes).toBe(0);
  });
});

test('a short read is a failure, and caches nothing', async () => {
  const parts = makeExport();
  parts.storage.shortNext('read');
  await expect(read(parts, 0, 4 * PAGE)).rejects.toMatchObject({ kind: 'io' });
  for (let page = 0; page < 4; page++) expect(parts.cache.has(page)).toBe(false);
  expect((await read(parts, 0, PAGE)).equals(parts.disk.subarray(0, PAGE))).toBe(true);
});

test('a read with a part that failed ends when its other parts have', async () => {
  const parts = makeExport();
  for (let page = 1; page < 15; page++) parts.cache.put(page, parts.disk, page * PAGE);
  parts.storage.failNext('read');
  const hold = parts.storage.holdNext('read');
  let hasEnded = false;
  const ended = read(parts, 0, 16 * PAGE).finally(() => {
    hasEnded = true;
  });
  ended.catch(() => undefined);
  await quiet();
  expect(hasEnded).toBe(false);
  expect(parts.buffers.lentBytes).toBeGreaterThan(0);
  hold.release();
  await expect(ended).rejects.toMatchObject({ kind: 'io' });
  expect(parts.buffers.lentBytes).toBe(0);
});

test('who joined a read hears of it even where caching it breaks', async () => {
  const parts = makeExport();
  const hold = parts.storage.holdNext('read');
  const first = read(parts, 0, PAGE);
  const joined = read(parts, 0, PAGE);
  first.catch(() => undefined);
  await hold.arrived;
  parts.cache.pool.destroy(); // a broken invariant: puts throw from now on
  hold.release();
  await expect(first).rejects.toThrow('destroyed');
  expect((await joined).equals(parts.disk.subarray(0, PAGE))).toBe(true);
});

test('sizes and offsets beyond 4 GiB are served', async () => {
  const parts = makeExport();
  const far = 5 * 1024 * MIB;
  const storage = new MemoryStorage(Buffer.alloc(PAGE, 7));
  Object.defineProperty(storage, 'sizeBytes', { value: far + PAGE });
  storage.read = async (buffer, at, length, offset) => {
    expect([offset, length]).toEqual([far, PAGE]);
    buffer.fill(7, at, at + length);
  };
  const distant = exportOn(storage, parts);
  expect((await read(distant, far + 5, 10)).equals(Buffer.alloc(10, 7))).toBe(true);
  expect(distant.target.reads.readCached(far, PAGE, Buffer.alloc(PAGE), 0)).toBe(0);
});
