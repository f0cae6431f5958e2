import { describe, expect, it } from 'vitest';
import { GrowingIds } from '../../../src/replay/engine/growing-ids.ts';
import { hashPage, PageIds } from '../../../src/replay/engine/page-ids.ts';
import {
  buildPageStream,
  type PageSource,
  type PageStreamOptions,
} from '../../../src/replay/engine/page-stream.ts';
import { TimeIndex } from '../../../src/replay/engine/time-index.ts';
import { OP, RequestBatch } from '../../../src/trace/request-batch.ts';
import { fc } from '../../tools/seed.ts';

type Request = readonly [op: keyof typeof OP, offset: number, length: number, volume?: number];

function sourceOf(requests: readonly Request[], unit: 'bytes' | 'keys' = 'bytes'): PageSource {
  return {
    name: 'made-up',
    unit,
    volumes: ['a', 'b'],
    canRereads: true,
    async *batches() {
      const batch = new RequestBatch(3);
      for (const [i, [op, offset, length, volume = 0]] of requests.entries()) {
        batch.push(10 * i, offset, length, volume, OP[op], 0, 0);
        if (batch.count < batch.capacity) continue;
        yield batch;
        batch.count = 0;
      }
      yield batch;
    },
  };
}

async function idsOf(requests: readonly Request[], options?: PageStreamOptions) {
  return [...(await buildPageStream(sourceOf(requests), options)).ids];
}

describe('a page stream', () => {
  it('has every page that a request touches, numbered by first use', async () => {
    expect(
      await idsOf([
        ['read', 8191, 2],
        ['read', 0, 4096],
        ['read', 4096, 8192],
        ['read', 8192, 0],
      ]),
    ).toEqual([0, 1, 2, 0, 1]);
  });

  it('has pages of the size that is asked for', async () => {
    const requests: Request[] = [
      ['read', 512, 4096],
      ['read', 0, 512],
    ];
    expect(await idsOf(requests)).toEqual([0, 1, 0]);
    expect(await idsOf(requests, { pageBytes: 512 })).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it('ends when it is told to, in the middle of a batch of long requests too', async () => {
    const stop = new AbortController();
    setImmediate(() => stop.abort(new Error('enough')));
    const long: Request = ['read', 0, 2 ** 20];
    const options = { pageBytes: 1, sampleRate: 1e-6, signal: stop.signal };
    await expect(buildPageStream(sourceOf([long, long]), options)).rejects.toThrow('enough');
  });

  it('tells volumes apart', async () => {
    const stream = await buildPageStream(
      sourceOf([
        ['read', 4096, 1],
        ['read', 4096, 1, 1],
        ['read', 4096, 1, 0],
      ]),
    );
    expect([...stream.ids]).toEqual([0, 1, 0]);
    expect([...stream.volumeOfPage]).toEqual([0, 1]);
    expect([...stream.numberOfPage]).toEqual([1, 1]);
  });

  it('leaves keys as they are', async () => {
    const stream = await buildPageStream(
      sourceOf(
        [
          ['read', 5, 1],
          ['read', 4097, 1],
        ],
        'keys',
      ),
    );
    expect([...stream.numberOfPage]).toEqual([5, 4097]);
  });

  it('knows pages again whose numbers need more than 32 bits', async () => {
    const keys = [7, 2 ** 32 - 1, 2 ** 32 + 7, 2 ** 52, 7, 2 ** 32 + 7, 2 ** 52];
    const stream = await buildPageStream(
      sourceOf(
        keys.map((key) => ['read', key, 1]),
        'keys',
      ),
    );
    expect([...stream.ids]).toEqual([0, 1, 2, 3, 0, 2, 3]);
    expect([...stream.numberOfPage]).toEqual(keys.slice(0, 4));
  });

  it('keeps the names of pages while their number grows', async () => {
    const keys = Array.from({ length: 300_000 }, (_, i) => (i < 290_000 ? 3 * i : 2 ** 33 + i));
    const stream = await buildPageStream(
      sourceOf(
        keys.map((key) => ['read', key, 1]),
        'keys',
      ),
    );
    expect(stream.pageCount).toBe(keys.length);
    expect(stream.numberOfPage.every((number, page) => number === keys[page])).toBe(true);
  });

  it.each([
    ['reads', [0, 0, 1], undefined],
    ['all', [0, 1, 0, 2, 1], 0b01010],
    ['writes-invalidate', [0, 0, 1, 0, 1], 0b11000],
  ] as const)('counts operations as --ops %s says', async (ops, ids, bits) => {
    const requests: Request[] = [
      ['read', 0, 1],
      ['write', 4096, 1],
      ['read', 0, 1],
      ['zero', 8192, 1],
      ['flush', 0, 0],
      ['read', 4096, 1],
      ['trim', 0, 8192],
    ];
    const stream = await buildPageStream(sourceOf(requests), { ops });
    expect([...stream.ids]).toEqual(ids);
    expect(stream.writeBits?.[0]).toBe(bits);
    expect(stream.accessCount).toBe(ops === 'all' ? 5 : 3);
  });

  it('drops known pages only, however long a trim is', async () => {
    const requests: Request[] = [
      ['read', 4096, 1],
      ['read', 40_960, 1],
      ['read', 0, 1, 1],
      ['trim', 8192, 2 ** 40],
    ];
    expect(await idsOf(requests, { ops: 'writes-invalidate' })).toEqual([0, 1, 2, 1]);
  });

  it('samples the same pages whenever they come', async () => {
    const requests = Array.from(
      { length: 4000 },
      (_, i): Request => ['read', (i % 2000) * 4096, 1],
    );
    const stream = await buildPageStream(sourceOf(requests), { sampleRate: 0.1 });
    expect(stream.requestCount).toBe(2 * stream.pageCount);
    expect(stream.pageCount).toBeGreaterThan(130);
    expect(stream.pageCount).toBeLessThan(270);
  });

  it.each([
    [{ pageBytes: 0 }, 'a page of 0 bytes'],
    [{ sampleRate: 0 }, 'a share of 0'],
  ])('refuses %j', async (options, message) => {
    await expect(idsOf([], options)).rejects.toThrow(message);
  });

  it('refuses a request that is longer than any real one', async () => {
    await expect(idsOf([['read', 0, 2 ** 50]])).rejects.toThrow('too long');
  });
});

it('page numbers agree with a map, for pages beyond 32 bits as well', () => {
  const pages = fc.tuple(
    fc.nat({ max: 3 }),
    fc.constantFrom(0, 1, 7, 2 ** 32, 2 ** 32 + 7, 2 ** 45),
  );
  fc.assert(
    fc.property(fc.array(pages), fc.nat({ max: 20_000 }), (names, others) => {
      const ids = new PageIds();
      for (let i = 0; i < others; i++) ids.add(9, i, hashPage(9, i));
      const known = new Map<string, number>();
      for (const [volume, page] of names) {
        const name = `${volume}/${page}`;
        const hash = hashPage(volume, page);
        expect(ids.find(volume, page, hash)).toBe(known.get(name) ?? -1);
        if (!known.has(name)) known.set(name, others + known.size);
        expect(ids.add(volume, page, hash)).toBe(known.get(name));
      }
    }),
    { numRuns: 50 },
  );
});

it('ids grow beyond a segment without losing any', () => {
  const ids = new GrowingIds();
  for (let i = 0; i < 2_500_000; i++) ids.push(i);
  const all = ids.finish();
  expect(all.length).toBe(2_500_000);
  expect(all.every((id, i) => id === i)).toBe(true);
});

it('a time index keeps every n-th time of a long stream', () => {
  const index = new TimeIndex();
  for (let i = 0; i < 100_000; i++) index.note(i, 5 * i);
  const times = index.finish();
  expect(times.length).toBe(Math.ceil(100_000 / index.stride));
  expect(times.every((time, i) => time === 5 * i * index.stride)).toBe(true);
});
