import { describe, expect, test } from 'vitest';
import { isAlignedMemory } from '../../src/lib/aligned-buffer.ts';
import {
  BufferPool,
  type Buffers,
  PIECE_BYTES,
  type PooledBuffer,
} from '../../src/lib/buffer-pool.ts';
import { fc } from '../tools/seed.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

function takeAll(pool: Buffers, bytes: number): PooledBuffer[] {
  const taken: PooledBuffer[] = [];
  for (let each = pool.take(bytes); each !== undefined; each = pool.take(bytes)) taken.push(each);
  return taken;
}

describe.each([4 * KIB, 64 * KIB])('a pool for pages of %d bytes', (pageBytes) => {
  test('lends buffers that are aligned, apart and large enough', () => {
    const pool = new BufferPool(4 * MIB, pageBytes);
    const all = [...takeAll(pool, 1), ...takeAll(pool, PIECE_BYTES + 2 * pageBytes)];
    expect(all.length).toBe(pool.smallCount + pool.largeCount);
    for (const [i, { buffer, dataOffset, dataBytes }] of all.entries()) {
      expect(isAlignedMemory(buffer, dataOffset)).toBe(true);
      expect(dataOffset + dataBytes).toBe(buffer.length);
      expect(dataOffset).toBeGreaterThan(64);
      buffer.fill(i);
    }
    for (const [i, { buffer }] of all.entries())
      expect(buffer.every((byte) => byte === i % 256)).toBe(true);
    expect(pool.lentBytes).toBe(pool.totalBytes);
    for (const each of all) pool.release(each);
    expect(pool.lentBytes).toBe(0);
  });

  test('has at least four of each size, however small its budget', () => {
    const pool = new BufferPool(1, pageBytes);
    expect([pool.smallCount, pool.largeCount]).toEqual([4, 4]);
  });

  test('keeps to its budget where that is no less', () => {
    const pool = new BufferPool(16 * MIB, pageBytes);
    expect(pool.totalBytes).toBeLessThanOrEqual(16 * MIB);
    expect(pool.totalBytes).toBeGreaterThan(12 * MIB);
  });
});

test('those who wait are served in order, and before those who come later', async () => {
  const pool = new BufferPool(1, 4096);
  const [first, second] = takeAll(pool, PIECE_BYTES);
  const served: string[] = [];
  const waits = ['a', 'b'].map((name) =>
    pool.wait(PIECE_BYTES).then((piece) => {
      served.push(name);
      return piece;
    }),
  );
  expect(pool.take(PIECE_BYTES)).toBeUndefined();
  if (first !== undefined) pool.release(first);
  expect(pool.take(PIECE_BYTES)).toBeUndefined();
  expect(await waits[0]).toBe(first);
  if (second !== undefined) pool.release(second);
  expect(await waits[1]).toBe(second);
  expect(served).toEqual(['a', 'b']);
});

test('small buffers are no use to those who need a large one, nor the other way', async () => {
  const pool = new BufferPool(1, 4096);
  const small = takeAll(pool, 4096);
  expect(small.length).toBe(4);
  const large = await pool.wait(PIECE_BYTES);
  expect(large.dataBytes).toBeGreaterThanOrEqual(PIECE_BYTES);
  expect(pool.isSmall(4096)).toBe(true);
  expect(pool.isSmall(PIECE_BYTES)).toBe(false);
});

test('a buffer that is not lent cannot be returned', () => {
  const pool = new BufferPool(1, 4096);
  const piece = pool.take(4096);
  if (piece === undefined) throw new Error('there are four');
  pool.release(piece);
  expect(() => pool.release(piece)).toThrow('not lent');
  expect(pool.lentBytes).toBe(0);
});

test('what fits no buffer is a mistake', () => {
  const pool = new BufferPool(MIB, 4096);
  expect(() => pool.take(PIECE_BYTES + 3 * 4096)).toThrow('do not fit');
});

test('buffers are spare while more than half of the large ones are free', () => {
  const pool = new BufferPool(1, 4096);
  expect(pool.isSpare).toBe(true);
  const one = pool.take(PIECE_BYTES);
  expect(pool.isSpare).toBe(true);
  pool.take(PIECE_BYTES);
  expect(pool.isSpare).toBe(false);
  if (one !== undefined) pool.release(one);
  expect(pool.isSpare).toBe(true);
});

test('whoever shares a pool with nobody may have all of it', () => {
  const pool = new BufferPool(4 * MIB, 4096);
  const only = pool.shared();
  expect(takeAll(only, 1).length).toBe(pool.smallCount);
  expect(takeAll(only, PIECE_BYTES).length).toBe(pool.largeCount);
});

test.each([
  [2, 4 * MIB],
  [2, 16 * MIB],
  [5, 64 * MIB],
])(
  'of %d who share a pool of %d bytes the last finds some, whatever the others keep',
  (count, budget) => {
    const pool = new BufferPool(budget, 4096);
    const sharers = Array.from({ length: count }, () => pool.shared());
    const [first] = sharers;
    expect(takeAll(first!, 1).length).toBeGreaterThanOrEqual(Math.ceil(pool.smallCount * 0.75));
    for (const bytes of [1, PIECE_BYTES]) {
      const parts = sharers.map((each) => takeAll(each, bytes).length);
      expect(Math.min(...parts.slice(1))).toBeGreaterThanOrEqual(1);
      if (bytes === 1)
        expect(parts.at(-1)).toBe(Math.floor(Math.floor(pool.smallCount / 4) / count));
    }
  },
);

test.each([2, 5])('no buffer lies idle when each of %d who share has its part', (count) => {
  const pool = new BufferPool(64 * MIB, 4096);
  const sharers = Array.from({ length: count }, () => pool.shared());
  const taken = sharers.map((each) => ({ each, pieces: takeAll(each, 1) }));
  for (const { each, pieces } of taken) for (const piece of pieces.splice(1)) each.release(piece);
  const parts = [...sharers, ...sharers].map((each) => takeAll(each, 1).length);
  expect(parts.reduce((sum, part) => sum + part, count)).toBe(pool.smallCount);
});

test('who may have a buffer does not wait behind those who have theirs', async () => {
  const pool = new BufferPool(1, 4096);
  const [hung, sound, third] = [pool.shared(), pool.shared(), pool.shared()];
  const kept = takeAll(hung, 1);
  expect(kept.length).toBe(3);
  const served: string[] = [];
  const wait = (name: string, from: Buffers) =>
    from.wait(1).then((piece) => {
      served.push(name);
      return piece;
    });
  const later = [wait('hung', hung), wait('hung', hung)];
  const one = sound.take(1);
  if (one === undefined) throw new Error('one is kept for it');
  const next = [wait('third', third), wait('sound', sound)];
  sound.release(one);
  third.release(await next[0]!);
  sound.release(await next[1]!);
  expect(served).toEqual(['third', 'sound']);
  for (const piece of kept) hung.release(piece);
  for (const each of later) hung.release(await each);
  expect(served).toEqual(['third', 'sound', 'hung', 'hung']);
  expect(pool.lentBytes).toBe(0);
});

test('those who wait for what others keep wait for nobody who has no more than is kept for it', async () => {
  const pool = new BufferPool(64 * MIB, 4096);
  const [hung, sound] = [pool.shared(), pool.shared()];
  const few = pool.smallCount / 4 / 2;
  const kept = takeAll(hung, 1);
  void hung.wait(1);
  expect([hung.isWaitedFor, sound.isWaitedFor]).toEqual([true, false]);
  for (let count = 0; count < few; count++) sound.take(1);
  expect(sound.isWaitedFor).toBe(false);
  for (const piece of kept.splice(0, 2)) hung.release(piece); // the first goes to who waits
  for (let count = 0; count < few; count++) void sound.wait(1);
  expect(sound.isWaitedFor).toBe(true);
});

test('lent and free buffers are all there are, whoever takes, waits and returns', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 6 }),
      fc.array(fc.record({ takes: fc.boolean(), isSmall: fc.boolean(), pick: fc.nat() })),
      async (sharers, actions) => {
        const pool = new BufferPool(1, 4096);
        const users = [pool, ...Array.from({ length: sharers }, () => pool.shared())];
        const held: (() => void)[] = [];
        const waits: Promise<number>[] = [];
        for (const { takes, isSmall, pick } of actions) {
          const bytes = isSmall ? 4096 : PIECE_BYTES;
          const user = users[pick % users.length] ?? pool;
          if (takes) {
            const wait = user.wait(bytes);
            waits.push(wait.then((piece) => held.push(() => user.release(piece))));
          } else if (held.length > 0) {
            for (const release of held.splice(pick % held.length, 1)) release();
          }
          await new Promise((resolve) => setImmediate(resolve));
        }
        while (held.length > 0) {
          for (const release of held.splice(0)) release();
          await new Promise((resolve) => setImmediate(resolve));
        }
        await Promise.all(waits);
        expect(held).toEqual([]);
        expect(pool.lentBytes).toBe(0);
      },
    ),
  );
});
