import { describe, expect, it, test } from 'vitest';
import { MISS, STORED } from '../../src/tmem/layer.ts';
import { MIB, page, startAdmin } from './fixture.ts';

test('layers, exports and pools are what the status has of them', async () => {
  const { ask } = await startAdmin();
  const { json: status } = await ask('GET', '/v1/status');
  expect((await ask('GET', '/v1/layers')).json.layers).toEqual(status.layers);
  expect((await ask('GET', '/v1/exports')).json.exports).toEqual(status.exports);
  expect((await ask('GET', '/v1/pools')).json.pools).toEqual(status.pools);
  expect(status.exports).toMatchObject([
    { name: 'disk', mode: 'writethrough', sizeBytes: MIB, image: 'disk.raw', writeBack: null },
  ]);
  expect((await ask('GET', '/v1/exports/disk')).json).toEqual((status.exports as unknown[])[0]);
});

test('an export and its pool have as many pages as they were given', async () => {
  const { ask, cache } = await startAdmin();
  for (let i = 0; i < 5; i++) cache.put(i, page(i), 0);
  const { json } = await ask('GET', '/v1/status');
  expect(json.exports).toMatchObject([{ pages: 5, poolIds: [cache.pool.id] }]);
  expect(json.pools).toMatchObject([{ owner: 'export:disk', pages: 5, kind: 'ephemeral' }]);
  const [{ bytes }] = json.pools as [{ bytes: number }];
  expect(bytes).toBeGreaterThan(0);
  expect(json.exports).toMatchObject([{ memoryBytes: bytes }]);
});

test('an export whose name needs it is asked for percent-encoded; an unknown one is 404', async () => {
  const { ask } = await startAdmin();
  expect((await ask('GET', '/v1/exports/%64isk')).json.name).toBe('disk');
  const { status, json } = await ask('GET', '/v1/exports/a%2Fb');
  expect([status, json.detail]).toEqual([404, expect.stringContaining('"a/b"')]);
});

test('frozen, nothing new is taken; thawed, it is', async () => {
  const { ask, cache } = await startAdmin();
  cache.put(0, page(0), 0);
  expect((await ask('POST', '/v1/freeze')).json).toEqual({ isFrozen: true });
  expect((await ask('GET', '/v1/status')).json.isFrozen).toBe(true);
  cache.put(1, page(1), 0);
  expect([cache.has(0), cache.has(1)]).toEqual([true, false]);
  expect((await ask('POST', '/v1/thaw')).json).toEqual({ isFrozen: false });
  expect(cache.put(1, page(1), 0)).toBe(STORED);
});

test('shrink gives back what freeable says, and no more when there is no more', async () => {
  const { ask, cache } = await startAdmin();
  for (let i = 0; i < 500; i++) cache.put(i, page(i), 0);
  const { freeableBytes } = (await ask('GET', '/v1/freeable')).json;
  expect(freeableBytes).toBeGreaterThan(100_000);
  const first = await ask('POST', '/v1/shrink', { json: { bytes: 1000 * MIB } });
  expect(first.json.freedBytes).toBeGreaterThanOrEqual(Number(freeableBytes));
  expect((await ask('GET', '/v1/freeable')).json.freeableBytes).toBe(0);
  expect((await ask('POST', '/v1/shrink', { json: { bytes: 1 } })).json.freedBytes).toBe(0);
  expect((await ask('GET', '/v1/pools')).json.pools).toMatchObject([{ pages: 0, bytes: 0 }]);
});

test('pages of a persistent pool are not freeable, and survive a shrink', async () => {
  const { ask, tmem } = await startAdmin();
  const pool = tmem.createPool({ kind: 'persistent' });
  for (let i = 0; i < 50; i++) pool.put(0, i, page(i));
  await ask('POST', '/v1/shrink', { json: { bytes: 1000 * MIB } });
  expect(pool.get(0, 49, Buffer.alloc(4096))).not.toBe(MISS);
});

describe('without the key', () => {
  it('a page, an object and a pool of an export are dropped, and the pool stays', async () => {
    const { ask, cache } = await startAdmin();
    for (let i = 0; i < 8; i++) cache.put(i, page(i), 0);
    cache.put(20_000, page(9), 0); // the second object
    const pool = `/v1/pools/${cache.pool.id}`;
    const drop = async (rest: string) => (await ask('DELETE', `${pool}${rest}`)).json.flushedPages;
    expect(await drop('/objects/0/pages/3')).toBe(1);
    expect(await drop('/objects/0/pages/3')).toBe(0);
    expect(cache.has(3)).toBe(false);
    expect(await drop('/objects/1')).toBe(1);
    expect(cache.has(20_000)).toBe(false);
    expect(await drop('')).toBe(7);
    expect(cache.put(0, page(0), 0)).toBe(STORED);
  });

  it('pages that may not vanish are not dropped', async () => {
    const { ask, tmem } = await startAdmin();
    const pool = tmem.createPool({ kind: 'persistent' });
    pool.put(0, 0, page(0));
    for (const rest of ['', '/objects/0', '/objects/0/pages/0']) {
      const { status, json } = await ask('DELETE', `/v1/pools/${pool.id}${rest}`);
      expect([status, json.detail]).toEqual([409, expect.stringContaining('drain it instead')]);
    }
    expect(pool.has(0, 0)).toBe(true);
  });

  it('a pool that is not there is 404', async () => {
    const { ask } = await startAdmin();
    for (const rest of ['', '/objects/0', '/objects/0/pages/0']) {
      expect((await ask('DELETE', `/v1/pools/999${rest}`)).status).toBe(404);
    }
  });
});

describe('a share', () => {
  it('is changed where it is named, and stays where it is not', async () => {
    const { ask, cache } = await startAdmin();
    const change = async (target: string, json: object) =>
      (await ask('PUT', target, { json })).json;
    const byName = await change('/v1/exports/disk/share', { weight: 300, capBytes: 8 * MIB });
    expect(byName).toEqual({ weight: 300, capBytes: 8 * MIB, minimumBytes: 0 });
    const byId = await change(`/v1/pools/${cache.pool.id}/share`, { minimumBytes: MIB });
    expect(byId).toEqual({ weight: 300, capBytes: 8 * MIB, minimumBytes: MIB });
    expect(await change('/v1/exports/disk/share', { capBytes: null })).toEqual({
      ...byId,
      capBytes: null,
    });
    expect(cache.pool.account.capBytes).toBe(Number.POSITIVE_INFINITY);
    const { json } = await ask('GET', '/v1/exports/disk');
    expect(json.share).toEqual({ ...byId, capBytes: null });
  });

  it.each([{}, { weight: 0 }, { weight: 1.5 }, { weight: 10_001 }, { capBytes: -1 }, { wait: 1 }])(
    'is not changed by %j',
    async (json) => {
      const { ask, cache } = await startAdmin();
      expect((await ask('PUT', '/v1/exports/disk/share', { json })).status).toBe(400);
      expect(cache.pool.account.weight).toBe(100);
    },
  );

  it('cannot have a minimum above its cap, nor belong to nobody', async () => {
    const { ask } = await startAdmin();
    const json = { capBytes: 1, minimumBytes: 2 };
    expect((await ask('PUT', '/v1/exports/disk/share', { json })).status).toBe(400);
    expect((await ask('PUT', '/v1/exports/none/share', { json: { weight: 1 } })).status).toBe(404);
    const { json: pool } = await ask('PUT', '/v1/pools/999/share', { json: { weight: 1 } });
    expect(pool).toMatchObject({ status: 404, detail: expect.stringContaining('tmem ctl pools') });
  });
});

test('what this service cannot do is 501, with a sentence', async () => {
  const { ask } = await startAdmin();
  expect((await ask('POST', '/v1/snapshot')).json).toMatchObject({
    status: 501,
    title: 'Not Implemented',
    detail: expect.stringContaining('start it with --snapshot FILE'),
  });
});

test('a snapshot answers what was saved', async () => {
  const saved = { pages: 3, bytes: 12_288, changed: ['a.raw'], leftOut: ['/dev/sdb'] };
  const { ask } = await startAdmin({ parts: { snapshot: async () => saved } });
  expect((await ask('POST', '/v1/snapshot')).json).toEqual(saved);
});
