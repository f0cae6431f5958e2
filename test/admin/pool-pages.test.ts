import { expect, test } from 'vitest';
import { ClientPools } from '../../src/admin/pools/client-pools.ts';
import { dropPages } from '../../src/admin/pools/drop-pages.ts';
import { getObject, putObject } from '../../src/admin/pools/pool-pages.ts';
import { smallStack } from '../metrics/scraped.ts';
import { turnsWhile } from '../tools/turns.ts';
import { MIB, PAGE, page } from './fixture.ts';

function makeView() {
  const pools = new ClientPools(smallStack(), 8192);
  const request = { kind: 'persistent', pageBytes: 4096, isExclusive: false, client: 'c' } as const;
  const { pool, key } = pools.create(request, undefined);
  return { pools, pool, view: pools.open(pool.id, key) };
}

const long = Buffer.concat(Array.from({ length: 256 }, (_, i) => page(i)));

test('a long request leaves turns of the event loop to others', async () => {
  const { pools, view } = makeView();
  const body = Buffer.alloc(MIB);
  const turns = await turnsWhile(async () => {
    await putObject(pools, view, 1, long);
    await getObject(view, 1, body);
  });
  expect(body.equals(long)).toBe(true);
  expect(turns).toBeGreaterThanOrEqual(12);
});

test('a pool that ends is out of reach at once, and its pages go in slices', async () => {
  const { pools, pool, view } = makeView();
  for (let i = 0; i < 3000; i++) pool.put(i % 3, i, page(0));
  const turns = await turnsWhile(async () => {
    const gone = pools.destroy(view);
    expect(() => pools.open(pool.id, '0'.repeat(32))).toThrow('there is no pool');
    expect(await pools.destroy(view)).toBe(0);
    expect(pool.usage.pages).toBeGreaterThan(2000);
    expect(await gone).toBe(3000);
  });
  expect(turns).toBeGreaterThanOrEqual(5);
  expect(pool.usage).toMatchObject({ pages: 0, usedBytes: 0 });
});

test.each(['all', 'those of now'])(
  'a pool that fills loses pages, %s, and is left then',
  async (which) => {
    const { pool } = makeView();
    for (let i = 0; i < 2000; i++) pool.put(i, 0, page(0));
    let object = 2000;
    let isDone = false;
    const fill = (): void => {
      for (let i = 0; i < 600; i++) pool.put(object++, 0, page(0));
      if (!isDone) setImmediate(fill);
    };
    setImmediate(fill);
    const objects = which === 'all' ? undefined : new Set(pool.objects());
    expect(await dropPages(pool, objects)).toBeLessThanOrEqual(2000);
    isDone = true;
    const left = [...pool.objects()].filter((each) => each < 2000);
    if (objects !== undefined) expect(left).toEqual([]);
    expect(pool.usage.pages).toBeGreaterThan(0);
  },
);

test('a pool that ends between two slices of a request is not there any more', async () => {
  const { pools, view } = makeView();
  const put = putObject(pools, view, 1, long);
  void pools.destroy(view);
  await expect(put).rejects.toMatchObject({ status: 404 });
});

test('an object that shrinks between two slices is read up to the page that is missing', async () => {
  const { pools, pool, view } = makeView();
  await putObject(pools, view, 1, long);
  const body = Buffer.alloc(MIB);
  const get = getObject(view, 1, body);
  pool.flushPage(1, 200);
  expect(await get).toBe(200);
  expect(body.subarray(0, 200 * PAGE).equals(long.subarray(0, 200 * PAGE))).toBe(true);
});
