import { describe, expect, it } from 'vitest';
import { TableCache } from '../../../src/image/tables/table-cache.ts';
import type { ResizableStorage } from '../../../src/storage/storage.ts';
import { FaultyStorage } from '../../storage/faulty-storage.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { fc } from '../../tools/seed.ts';

const SLICE = 64;

/** A storage that a test can trouble, and that can be resized. */
class FaultyContainer extends FaultyStorage implements ResizableStorage {
  readonly memory: MemoryStorage;
  constructor(bytes: Buffer) {
    const memory = new MemoryStorage(bytes, { isContainer: true });
    super(memory);
    this.memory = memory;
  }
  resize(sizeBytes: number): Promise<void> {
    return this.memory.resize(sizeBytes);
  }
}

function cacheOf(sizeBytes: number, limitSlices: number) {
  const bytes = Buffer.alloc(sizeBytes);
  for (let i = 0; i < sizeBytes; i++) bytes[i] = 1 + Math.floor(i / SLICE);
  const storage = new FaultyContainer(bytes);
  const cache = new TableCache({ storage, sliceBytes: SLICE, limitBytes: limitSlices * SLICE });
  return { storage, cache };
}

async function stored({ memory }: FaultyContainer, offset: number): Promise<number> {
  const byte = Buffer.alloc(1);
  await memory.read(byte, 0, 1, offset);
  return byte[0] ?? -1;
}

describe('a table cache', () => {
  it('reads a slice once, for all who want it meanwhile and later', async () => {
    const { storage, cache } = cacheOf(8 * SLICE, 4);
    expect(cache.get(SLICE)).toBeUndefined();
    const [one, two] = await Promise.all([cache.load(SLICE), cache.load(SLICE)]);
    expect(one).toBe(two);
    expect(cache.get(SLICE)).toBe(one);
    expect([one[0], one.length]).toEqual([2, SLICE]);
    expect(storage.requests.read).toBe(1);
    expect(cache.statistics).toMatchObject({ hits: 1, misses: 2, bytes: SLICE });
  });

  it('reads slices that will be wanted along with one, up to one that is in memory', async () => {
    const { storage, cache } = cacheOf(16 * SLICE, 12);
    await cache.load(5 * SLICE);
    const [one, next] = await Promise.all([
      cache.load(SLICE, 8 * SLICE),
      cache.load(2 * SLICE, 8 * SLICE),
    ]);
    expect([one[0], next[0], storage.requests.read]).toEqual([2, 3, 2]);
    expect(cache.get(2 * SLICE)).toBe(next);
    expect(cache.get(4 * SLICE)).toEqual(Buffer.alloc(SLICE, 5));
    expect(cache.get(6 * SLICE)).toBeUndefined();
    await cache.load(8 * SLICE, 2 * SLICE);
    expect(cache.get(10 * SLICE)).toEqual(Buffer.alloc(SLICE, 11));
    expect(cache.get(11 * SLICE)).toBeUndefined();
  });

  it('has of slices that are read along with one what was made of them meanwhile', async () => {
    const { cache } = cacheOf(8 * SLICE, 8);
    const loading = cache.load(0, 3 * SLICE);
    const made = cache.create(SLICE);
    await loading;
    expect(cache.get(SLICE)).toBe(made);
    expect(made).toEqual(Buffer.alloc(SLICE));
  });

  it('reads each slice by itself where several cannot be read at once', async () => {
    const { storage, cache } = cacheOf(4 * SLICE, 8);
    storage.failNext('read');
    expect((await cache.load(0, 2 * SLICE))[0]).toBe(1);
    expect((await cache.load(SLICE))[0]).toBe(2);
    expect(storage.requests.read).toBe(4);
  });

  it('gives zeros for what lies behind the end', async () => {
    const { cache } = cacheOf(SLICE + 10, 4);
    const slice = await cache.load(SLICE);
    expect([slice[9], slice[10], slice[SLICE - 1]]).toEqual([2, 0, 0]);
    expect((await cache.load(40 * SLICE)).every((byte) => byte === 0)).toBe(true);
  });

  it('reads again after a failure', async () => {
    const { storage, cache } = cacheOf(2 * SLICE, 4);
    storage.failNext('read');
    await expect(cache.load(0)).rejects.toMatchObject({ kind: 'io' });
    expect((await cache.load(0))[0]).toBe(1);
  });

  it('holds no more than its limit, and drops the least recently used', async () => {
    const { cache } = cacheOf(8 * SLICE, 3);
    for (const i of [0, 1, 2]) await cache.load(i * SLICE);
    cache.get(0);
    await cache.load(3 * SLICE);
    await new Promise((resolve) => setImmediate(resolve));
    expect(cache.get(SLICE)).toBeUndefined();
    expect(cache.get(0)).toBeDefined();
    expect(cache.statistics).toMatchObject({ bytes: 3 * SLICE, evictions: 1 });
  });

  it('lets who loaded a slice change it, however small the cache', async () => {
    const { cache } = cacheOf(8 * SLICE, 1);
    const change = async (offset: number) => {
      const slice = cache.get(offset) ?? (await cache.load(offset));
      slice[0] = 99;
      cache.markDirty(offset);
    };
    await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((i) => change(i * SLICE)));
    expect(cache.dirtyBytes).toBe(8 * SLICE);
    for (let i = 0; i < 8; i++) expect(cache.get(i * SLICE)?.[0]).toBe(99);
  });

  it('writes dirty slices sorted, neighbours as one, and keeps them clean', async () => {
    const { storage, cache } = cacheOf(8 * SLICE, 8);
    for (const i of [6, 2, 1, 3]) cache.create(i * SLICE).fill(50 + i);
    const writes: number[][] = [];
    storage.onWrite = (offset, length) => {
      writes.push([offset / SLICE, length / SLICE]);
    };
    await cache.writeBack([1 * SLICE, 7 * SLICE]);
    await cache.writeBack();
    expect(writes).toEqual([
      [1, 1],
      [2, 2],
      [6, 1],
    ]);
    expect([cache.dirtyBytes, cache.get(2 * SLICE)?.[0]]).toEqual([0, 52]);
    expect(await stored(storage, 6 * SLICE)).toBe(56);
  });

  it('keeps a slice dirty that is changed while it is written, or whose write fails', async () => {
    const { storage, cache } = cacheOf(2 * SLICE, 4);
    const slice = cache.create(0);
    slice[0] = 7;
    const hold = storage.holdNext('write');
    const write = cache.writeBack();
    await hold.arrived;
    slice[0] = 8;
    cache.markDirty(0);
    hold.release();
    await write;
    expect([await stored(storage, 0), cache.isDirty(0)]).toEqual([7, true]);
    storage.failNext('write', 'ENOSPC');
    await expect(cache.writeBack()).rejects.toMatchObject({ kind: 'no-space' });
    expect(cache.isDirty(0)).toBe(true);
    await cache.writeBack();
    expect([await stored(storage, 0), cache.isDirty(0)]).toEqual([8, false]);
  });

  it('never lets an older write of a slice land after a newer one', async () => {
    const { storage, cache } = cacheOf(2 * SLICE, 4);
    cache.create(0)[0] = 1;
    const hold = storage.holdNext('write');
    const first = cache.writeBack();
    await hold.arrived;
    const slice = cache.get(0);
    if (slice !== undefined) slice[0] = 2;
    cache.markDirty(0);
    const second = cache.writeBack();
    const joined = cache.writeBack();
    hold.release();
    await Promise.all([first, second, joined]);
    expect([await stored(storage, 0), storage.requests.write]).toEqual([2, 2]);
  });

  it('forgets what was dropped, though it is on its way in or out', async () => {
    const { storage, cache } = cacheOf(4 * SLICE, 4);
    const read = storage.holdNext('read');
    const load = cache.load(0);
    await read.arrived;
    cache.drop(0, SLICE);
    const made = cache.create(0);
    read.release();
    expect(await load).toBe(made);
    const hold = storage.holdNext('write');
    const write = cache.writeBack();
    await hold.arrived;
    cache.drop(0, SLICE);
    expect([cache.get(0), cache.dirtyBytes]).toEqual([undefined, 0]);
    hold.release();
    await write;
    expect(cache.statistics.bytes).toBe(0);
  });

  it('agrees with a model through loads, changes, writes, drops and failures', async () => {
    const step = fc.record({
      kind: fc.constantFrom('change', 'create', 'write', 'fail', 'drop', 'look'),
      slices: fc.uniqueArray(fc.nat(15), { minLength: 1, maxLength: 6 }),
      ahead: fc.nat(3),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { storage, cache } = cacheOf(16 * SLICE, 4);
        const model = Array.from({ length: 16 }, (_, i) => i + 1);
        let value = 20;
        for (const { kind, slices, ahead } of steps) {
          if (kind === 'write') await cache.writeBack(slices.map((i) => i * SLICE));
          if (kind === 'fail') {
            storage.failNext('write');
            await cache.writeBack().catch(() => undefined);
            if (cache.dirtyBytes === 0)
              await storage.write(Buffer.alloc(0), 0, 0, 0).catch(() => 0);
          }
          if (kind === 'drop') {
            for (const i of slices) {
              cache.drop(i * SLICE, SLICE);
              model[i] = await stored(storage, i * SLICE); // what was never written is gone
            }
          }
          const work = slices.map(async (i) => {
            if (kind === 'create') cache.create(i * SLICE)[0] = model[i] = value++ % 256;
            const slice = cache.get(i * SLICE) ?? (await cache.load(i * SLICE, ahead * SLICE));
            expect(slice[0]).toBe(model[i]);
            if (kind !== 'change') return;
            slice[0] = model[i] = value++ % 256;
            cache.markDirty(i * SLICE);
          });
          await Promise.all(work);
          expect(cache.statistics.bytes).toBeLessThanOrEqual(Math.max(4 * SLICE, cache.dirtyBytes));
        }
        storage.onWrite = undefined;
        await cache.writeBack().catch(() => cache.writeBack());
        for (const [i, byte] of model.entries())
          expect(await stored(storage, i * SLICE)).toBe(byte);
      }),
      { numRuns: 60 },
    );
  });
});
