import { describe, expect, test } from 'vitest';
import { ReadAhead } from '../../../src/export/reads/read-ahead.ts';
import { KIB, MIB, makeExport, quiet, read } from '../fixture.ts';

const PAGE = 4 * KIB;
const WINDOW_MAX = MIB / PAGE;

/** Reads `count` times `length` bytes one after the other, each when all before has settled. */
async function readOn(
  parts: ReturnType<typeof makeExport>,
  count: number,
  length: number,
  step = length,
) {
  for (let i = 0; i < count; i++) {
    const data = await read(parts, i * step, length);
    expect(data.equals(parts.disk.subarray(i * step, i * step + length))).toBe(true);
    await quiet();
  }
}

describe('a sequential reader', () => {
  test.each([512, 4 * KIB, 10_000, 64 * KIB, 128 * KIB, 256 * KIB])(
    'of %d bytes at a time soon finds nearly all in the cache',
    async (length) => {
      const parts = makeExport({ sizeBytes: 8 * MIB });
      const count = Math.floor((4 * MIB) / length);
      await readOn(parts, Math.min(count, 256), length);
      expect(parts.target.statistics.readMisses).toBeLessThanOrEqual(3);
      expect(parts.target.reads.readAhead.usedPages).toBeGreaterThan(0);
      expect(parts.buffers.lentBytes).toBe(0);
    },
  );

  test('has at most 1 MiB read ahead of it', async () => {
    const parts = makeExport({ sizeBytes: 8 * MIB });
    let asked = 0;
    parts.storage.onRead = (offset, length) => {
      const ahead = offset + length - asked;
      expect(ahead).toBeLessThanOrEqual(MIB);
    };
    for (let at = 0; at < 6 * MIB; at += 64 * KIB) {
      asked = at + 64 * KIB;
      await read(parts, at, 64 * KIB);
      await quiet();
    }
  });

  test('does not read beyond the end of the image', async () => {
    const parts = makeExport({ sizeBytes: MIB + 100 });
    await readOn(parts, 16, 64 * KIB);
    expect((await read(parts, MIB, 100)).equals(parts.disk.subarray(MIB))).toBe(true);
    expect(parts.target.statistics.aheadPages).toBeLessThanOrEqual(257 - 32);
  });

  test('is followed when its pages are lent, too', async () => {
    const parts = makeExport({ sizeBytes: 8 * MIB });
    await readOn(parts, 2, 64 * KIB);
    for (let at = 2; at < 64; at++) {
      parts.target.reads.countHit(at * 64 * KIB, 64 * KIB);
      await quiet();
    }
    for (let page = 0; page < 64 * 16; page++) expect(parts.cache.has(page)).toBe(true);
  });

  test('meets the failure of what was read ahead only when it comes to it', async () => {
    const parts = makeExport({ sizeBytes: 2 * MIB });
    await readOn(parts, 1, 64 * KIB);
    parts.storage.onRead = (offset) => {
      if (offset >= 128 * KIB) throw new Error('bad');
    };
    await read(parts, 64 * KIB, 64 * KIB);
    await quiet();
    await expect(read(parts, 128 * KIB, 64 * KIB)).rejects.toThrow('bad');
    expect(parts.buffers.lentBytes).toBe(0);
  });
});

test('many readers of one page have nothing read ahead', async () => {
  const parts = makeExport();
  await Promise.all([read(parts, 0, PAGE), read(parts, 0, PAGE), read(parts, 0, 100)]);
  await quiet();
  expect(parts.storage.requests.read).toBe(1);
});

test('random readers have nothing read ahead', async () => {
  const parts = makeExport({ sizeBytes: 8 * MIB });
  for (let i = 0; i < 200; i++) await read(parts, ((i * 977) % 2000) * PAGE, PAGE);
  await quiet();
  expect(parts.target.statistics.aheadPages).toBe(0);
  expect(parts.storage.requests.read).toBe(200);
});

test('nothing is read ahead while buffers are scarce, nor counted as if', async () => {
  const parts = makeExport({ sizeBytes: 8 * MIB, bufferBytes: MIB });
  const taken = [256, 256, 256].map((kib) => parts.buffers.take(kib * KIB));
  await readOn(parts, 8, 16 * KIB);
  expect(parts.target.statistics.aheadPages).toBe(0);
  for (const piece of taken) if (piece !== undefined) parts.buffers.release(piece);
  await readOn(parts, 12, 16 * KIB);
  expect(parts.target.statistics.aheadPages).toBeGreaterThan(0);
  expect(parts.target.reads.readAhead.usedPages).toBeLessThanOrEqual(
    parts.target.statistics.aheadPages,
  );
});

describe('pages read ahead', () => {
  /** A stream that missed twice, and so has earned its first window. */
  function stream(readAhead: ReadAhead, at: number, pages: number): number {
    readAhead.note(at, at + 1, true);
    const { first, count } = readAhead.note(at + 1, at + 2, true);
    readAhead.begun(first + count, pages);
    return count;
  }

  test('are wasted when their stream is forgotten before it came to them', () => {
    const readAhead = new ReadAhead(1_000_000, PAGE);
    const count = stream(readAhead, 0, 32);
    expect(count).toBe(32);
    readAhead.note(2, 12, false);
    for (let i = 1; i <= 16; i++) readAhead.note(i * 1000, i * 1000 + 1, true);
    expect([readAhead.usedPages, readAhead.wastedPages]).toEqual([10, 22]);
  });

  test('are neither used nor wasted if they were cached before', () => {
    const readAhead = new ReadAhead(1_000_000, PAGE);
    stream(readAhead, 0, 0);
    readAhead.note(2, 12, false);
    for (let i = 1; i <= 16; i++) readAhead.note(i * 1000, i * 1000 + 1, true);
    expect([readAhead.usedPages, readAhead.wastedPages]).toEqual([0, 0]);
  });

  test('are for a stream that misses: one that finds its pages cached has none', () => {
    const readAhead = new ReadAhead(1_000_000, PAGE);
    readAhead.note(0, 1, true);
    for (let at = 1; at < 99; at++) expect(readAhead.note(at, at + 1, false).count).toBe(0);
    expect(readAhead.note(99, 100, true).count).toBe(32);
  });

  test('stay with a stream that goes on among others, and each is used or wasted once', () => {
    const readAhead = new ReadAhead(1_000_000, PAGE);
    let aheadPages = stream(readAhead, 0, 32);
    for (let i = 1; i <= 60; i++) {
      if (i <= 40) {
        const { first, count } = readAhead.note(1 + i, 2 + i, false);
        if (count > 0) readAhead.begun(first + count, count);
        aheadPages += count;
      }
      readAhead.note(i * 1000, i * 1000 + 1, true);
    }
    expect([readAhead.usedPages, readAhead.wastedPages]).toEqual([40, aheadPages - 40]);
    expect(aheadPages).toBeGreaterThan(64);
  });

  test('are told from what is left of them when their stream has moved on', () => {
    const readAhead = new ReadAhead(1_000_000, PAGE);
    stream(readAhead, 0, 32);
    expect(readAhead.aheadEndOf(2)).toBe(34);
    readAhead.note(2, 12, false);
    expect([readAhead.aheadEndOf(2), readAhead.aheadEndOf(12)]).toEqual([0, 34]);
  });

  test('are for a stream that has just begun, too, though nothing was found there before', () => {
    const readAhead = new ReadAhead(1_000_000, PAGE);
    expect(readAhead.note(9, 10, true).count).toBe(0);
    // The second request begins in the page where the first one ended.
    expect(readAhead.note(9, 20, true)).toEqual({ first: 20, count: 32 });
  });

  test('double up to the largest window', () => {
    const readAhead = new ReadAhead(1_000_000, PAGE);
    const windows = new Set<number>();
    readAhead.note(0, 1, true);
    for (let at = 1; at < 5000; at++) {
      const { first, count } = readAhead.note(at, at + 1, at === 1);
      if (count === 0) continue;
      readAhead.begun(first + count, count);
      windows.add(first + count - at - 1);
    }
    expect(Math.max(...windows)).toBe(WINDOW_MAX);
    expect(Math.min(...windows)).toBe(32);
  });
});
