import { randomBytes } from 'node:crypto';
import { describe, expect, it, test, vi } from 'vitest';
import { KIB, MIB, PAGE, page, startAdmin } from './fixture.ts';

describe('a page', () => {
  it('comes back as it was put, from any place that has a name', async () => {
    const { ask, makePool } = await startAdmin();
    const { path, key } = await makePool();
    const places = ['0/pages/0', '0/pages/4294967295', '9007199254740991/pages/7'];
    for (const [i, place] of places.entries()) {
      const target = `${path}/objects/${place}`;
      expect((await ask('PUT', target, { key, bytes: page(i) })).json).toEqual({
        outcome: 'stored',
      });
    }
    for (const [i, place] of places.entries()) {
      const { bytes, type } = await ask('GET', `${path}/objects/${place}`, { key });
      expect(type).toBe('application/octet-stream');
      expect(bytes.equals(page(i))).toBe(true);
    }
  });

  it('is replaced by a newer one, and gone when it was deleted', async () => {
    const { ask, makePool } = await startAdmin();
    const { path, key } = await makePool();
    const target = `${path}/objects/1/pages/1`;
    await ask('PUT', target, { key, bytes: page(1) });
    expect((await ask('PUT', target, { key, bytes: page(2) })).json.outcome).toBe('replaced');
    expect((await ask('GET', target, { key })).bytes.equals(page(2))).toBe(true);
    expect((await ask('DELETE', target, { key })).json).toEqual({ flushedPages: 1 });
    expect((await ask('DELETE', target, { key })).json).toEqual({ flushedPages: 0 });
    expect((await ask('GET', target, { key })).json).toMatchObject({ status: 404, index: 1 });
  });

  it('is taken out by an exclusive get, and by any get of an exclusive pool', async () => {
    const { ask, makePool } = await startAdmin();
    for (const isExclusive of [false, true]) {
      const { path, key } = await makePool({ isExclusive });
      const target = `${path}/objects/1/pages/1`;
      await ask('PUT', target, { key, bytes: page(1) });
      const query = isExclusive ? '' : '?exclusive=true';
      expect((await ask('GET', `${target}${query}`, { key })).bytes.equals(page(1))).toBe(true);
      expect((await ask('GET', target, { key })).status).toBe(404);
    }
  });

  it('that is refused leaves no older one behind, and the answer says why', async () => {
    const { ask, makePool, tmem } = await startAdmin();
    const { path, key } = await makePool();
    const target = `${path}/objects/1/pages/1`;
    await ask('PUT', target, { key, bytes: page(1) });
    tmem.freeze();
    const other = await ask('PUT', `${path}/objects/1/pages/2`, { key, bytes: page(2) });
    expect(other.json).toMatchObject({ status: 507, reason: 'frozen', index: 2 });
  });

  it('has the bytes of its pool, not one less or more', async () => {
    const { ask, makePool } = await startAdmin();
    const { path, key } = await makePool({ pageBytes: 8192 });
    const target = `${path}/objects/1/pages/1`;
    for (const length of [0, 1, 4096, 8191, 8193, 5 * MIB]) {
      const { status, json } = await ask('PUT', target, { key, bytes: Buffer.alloc(length) });
      expect([status, json.detail]).toEqual([400, expect.stringContaining('exactly 8192 bytes')]);
    }
    await ask('PUT', target, { key, bytes: page(1, 8192) });
    expect((await ask('GET', target, { key })).bytes.length).toBe(8192);
  });

  it('has a number for a name', async () => {
    const { ask, makePool } = await startAdmin();
    const { path, key } = await makePool();
    const wrong = ['-1', '1.0', '0x1', '01', 'a', '%31%00', '4294967296', '1e3', '%', '+1', '%20'];
    for (const name of wrong) {
      const { status } = await ask('GET', `${path}/objects/1/pages/${name}`, { key });
      expect([name, status]).toEqual([name, 400]);
    }
    for (const name of ['9007199254740992', '-1', '18446744073709551616']) {
      expect((await ask('GET', `${path}/objects/${name}`, { key })).status).toBe(400);
      expect((await ask('GET', `/v1/pools/${name}/objects/1`, { key })).status).toBe(400);
    }
    expect((await ask('GET', '/v1/pools/0/objects/1', { key })).status).toBe(400);
  });
});

describe('an object', () => {
  it('comes back as it was put, and has no pages of before', async () => {
    const { ask, makePool } = await startAdmin({ memoryBytes: 32 * MIB });
    const { path, key } = await makePool();
    const target = `${path}/objects/5`;
    for (const length of [4 * MIB, PAGE, 129 * PAGE]) {
      const bytes = randomBytes(length);
      expect((await ask('PUT', target, { key, bytes })).json).toEqual({ pages: length / PAGE });
      expect((await ask('GET', target, { key })).bytes.equals(bytes)).toBe(true);
    }
    expect((await ask('DELETE', target, { key })).json).toEqual({ flushedPages: 129 });
    expect((await ask('GET', target, { key })).json).toMatchObject({ status: 404, index: 0 });
  });

  it('is asked for by count: so many pages or the first that is missing', async () => {
    const { ask, makePool } = await startAdmin();
    const { path, key } = await makePool({ isExclusive: true });
    const bytes = Buffer.concat([page(0), page(1), page(2)]);
    await ask('PUT', `${path}/objects/5`, { key, bytes });
    const missing = await ask('GET', `${path}/objects/5?count=4`, { key });
    expect(missing.json).toMatchObject({ status: 404, index: 3 });
    // None was taken out of the exclusive pool by that.
    expect((await ask('GET', `${path}/objects/5?count=2`, { key })).bytes.length).toBe(2 * PAGE);
    expect((await ask('GET', `${path}/objects/5/pages/2`, { key })).bytes.equals(page(2))).toBe(
      true,
    );
  });

  it('is answered as far as it is still there, but with a count whole or not at all', async () => {
    const { ask, send, makePool, tmem } = await startAdmin();
    const { id, path, key } = await makePool();
    const pool = [...tmem.pools].find((each) => each.id === id)!;
    const bytes = Buffer.concat(Array.from({ length: 64 }, (_, i) => page(i)));
    for (const [query, status] of [
      ['', 200],
      ['?count=64', 404],
    ] as const) {
      await ask('PUT', `${path}/objects/5`, { key, bytes });
      vi.spyOn(pool, 'get').mockImplementationOnce((object, index, dst) => {
        pool.flushPage(5, 40); // after the pages were counted
        return pool.get(object, index, dst);
      });
      const answered = await send('GET', `${path}/objects/5${query}`, { key });
      expect(answered.status).toBe(status);
      if (status === 200) expect(answered.bytes.equals(bytes.subarray(0, 40 * PAGE))).toBe(true);
      else expect(answered.json).toMatchObject({ index: 40 });
    }
  });

  it('has no page left when one of its pages is refused', async () => {
    const { ask, makePool } = await startAdmin({ memoryBytes: 4 * MIB });
    const { path, key } = await makePool({ kind: 'persistent' });
    const bytes = randomBytes(4 * MIB);
    const refused = await ask('PUT', `${path}/objects/5`, { key, bytes });
    expect(refused.json).toMatchObject({ status: 507, reason: 'limit' });
    expect(refused.json.index).toBeGreaterThan(10);
    expect((await ask('GET', `${path}/objects/5/pages/0`, { key })).status).toBe(404);
    expect((await ask('GET', '/v1/pools')).json.pools).toMatchObject([{}, { pages: 0, bytes: 0 }]);
  });

  it('is refused when it alone is more than may be held at once, and can be had in part', async () => {
    const { ask, makePool } = await startAdmin({ parts: { bodyBytesMax: 4 * PAGE } });
    const { path, key } = await makePool();
    for (let i = 0; i < 5; i++) {
      await ask('PUT', `${path}/objects/1/pages/${i}`, { key, bytes: page(i) });
    }
    const refused = await ask('GET', `${path}/objects/1`, { key });
    expect([refused.status, refused.json.detail]).toEqual([
      413,
      expect.stringContaining('ask for less at a time'),
    ]);
    const part = await ask('GET', `${path}/objects/1?count=4`, { key });
    expect(part.bytes.length).toBe(4 * PAGE);
  });

  it('is made of whole pages, at least one, of 4 MiB at most', async () => {
    const { ask, makePool } = await startAdmin();
    const { path, key } = await makePool();
    for (const [length, expected] of [
      [0, 400],
      [1, 400],
      [4095, 400],
      [PAGE + 1, 400],
      [4 * MIB + PAGE, 413],
    ]) {
      const { status } = await ask('PUT', `${path}/objects/1`, {
        key,
        bytes: Buffer.alloc(length ?? 0),
      });
      expect([length, status]).toEqual([length, expected]);
    }
    for (const query of [
      'count=0',
      'count=1025',
      'count=x',
      'count=1&count=1',
      'exclusive=true',
      'x=1',
    ]) {
      expect((await ask('GET', `${path}/objects/1?${query}`, { key })).status).toBe(400);
    }
  });
});

describe('a pool', () => {
  it('is made as asked, and is listed with its client', async () => {
    const { ask } = await startAdmin();
    const json = { kind: 'persistent', pageBytes: 8192, isExclusive: true, client: 'builder-1' };
    const { status, headers, json: made } = await ask('POST', '/v1/pools', { json });
    expect(status).toBe(201);
    expect(made).toMatchObject({
      kind: 'persistent',
      pageBytes: 8192,
      isExclusive: true,
      isShared: false,
    });
    expect(made.key).toMatch(/^[0-9a-f]{32}$/);
    expect(headers.location).toBe(`/v1/pools/${made.id}`);
    const { pools } = (await ask('GET', '/v1/pools')).json;
    expect(pools).toContainEqual(
      expect.objectContaining({ id: made.id, owner: 'client:builder-1', kind: 'persistent' }),
    );
    expect(JSON.stringify(pools)).not.toContain(made.key);
  });

  it.each([
    [{}],
    [{ kind: 'both' }],
    [{ kind: 'ephemeral', pagebytes: 4096 }],
    [{ kind: 'ephemeral', pageBytes: 5000 }],
    [{ kind: 'ephemeral', pageBytes: 16 * KIB }],
    [{ kind: 'ephemeral', pageBytes: '4096' }],
    [{ kind: 'ephemeral', client: '../etc' }],
    [{ kind: 'ephemeral', client: 'x'.repeat(65) }],
    [[]],
    [null],
    ['ephemeral'],
  ])('is not made of %j', async (json) => {
    const { ask, tmem } = await startAdmin();
    expect((await ask('POST', '/v1/pools', { json })).status).toBe(400);
    expect(tmem.pools.size).toBe(1);
  });

  it('is reached by its key and by nobody else', async () => {
    const { ask, makePool, cache } = await startAdmin();
    const mine = await makePool();
    const other = await makePool();
    await ask('PUT', `${mine.path}/objects/1/pages/0`, { key: mine.key, bytes: page(1) });
    const calls = [
      ['GET', '/objects/1/pages/0'],
      ['PUT', '/objects/1/pages/0'],
      ['GET', '/objects/1'],
      ['PUT', '/objects/1'],
      ['POST', '/batch'],
    ] as const;
    for (const [method, rest] of calls) {
      const extras = method === 'GET' ? {} : { bytes: page(2) };
      const status = async (path: string, key?: string): Promise<number> => {
        const keyed = key === undefined ? extras : { ...extras, key };
        return (await ask(method, `${path}${rest}`, keyed)).status;
      };
      expect(await status(mine.path)).toBe(401);
      expect(await status(mine.path, other.key)).toBe(403);
      expect(await status(mine.path, mine.key.toUpperCase())).toBe(403);
      expect(await status(`/v1/pools/${cache.pool.id}`, mine.key)).toBe(404);
      expect(await status('/v1/pools/999', mine.key)).toBe(404);
    }
    for (const rest of ['', '/objects/1', '/objects/1/pages/0']) {
      const { status } = await ask('DELETE', `${mine.path}${rest}`, { key: other.key });
      expect(status).toBe(403);
    }
    const { bytes } = await ask('GET', `${mine.path}/objects/1/pages/0`, { key: mine.key });
    expect(bytes.equals(page(1))).toBe(true);
  });

  it('is gone when it was deleted, with its key or by who runs the service', async () => {
    const { ask, makePool, tmem } = await startAdmin();
    for (const isClient of [true, false]) {
      const { path, key } = await makePool({ kind: 'persistent' });
      await ask('PUT', `${path}/objects/1/pages/0`, { key, bytes: page(1) });
      const { json } = await ask('DELETE', path, isClient ? { key } : {});
      expect(json).toEqual({ flushedPages: 1 });
      expect((await ask('GET', `${path}/objects/1/pages/0`, { key })).status).toBe(404);
      expect((await ask('DELETE', path, { key })).status).toBe(404);
    }
    expect(tmem.pools.size).toBe(1);
  });

  it('has one share with the others of its client, while there are any', async () => {
    const { ask, makePool, send } = await startAdmin();
    const [a, b] = [await makePool({ client: 'a' }), await makePool({ client: 'a' })];
    const other = await makePool({ client: 'b' });
    for (const [i, { path, key }] of [a, b, other].entries()) {
      await ask('PUT', `${path}/objects/1`, { key, bytes: Buffer.concat([page(i), page(9)]) });
    }
    const shareOf = async ({ id }: typeof a) => {
      const { pools } = (await ask('GET', '/v1/pools')).json;
      return (pools as { id: number; share: object }[]).find((each) => each.id === id)?.share;
    };
    await ask('PUT', `${a.path}/share`, { json: { weight: 7 } });
    expect(await shareOf(b)).toMatchObject({ weight: 7 });
    expect(await shareOf(other)).toMatchObject({ weight: 100 });
    const text = (await send('GET', '/metrics')).bytes.toString();
    const samples = text.match(/^tmem_account_memory_bytes\{.*$/gm) ?? [];
    const byName = new Map(samples.map((line) => line.split(' ') as [string, string]));
    expect(byName.size).toBe(samples.length);
    const bytesOf = (name: string) =>
      Number(byName.get(`tmem_account_memory_bytes{account="client:${name}"}`));
    expect(bytesOf('a')).toBe(2 * bytesOf('b'));
    for (const { path, key } of [a, b]) await ask('DELETE', path, { key });
    expect(await shareOf(await makePool({ client: 'a' }))).toMatchObject({ weight: 100 });
  });

  it('has the pages that it was given, whatever others of its client have', async () => {
    const { ask, makePool } = await startAdmin();
    const made = [await makePool(), await makePool({ kind: 'persistent' })];
    for (const [i, { path, key }] of made.entries()) {
      const bytes = Buffer.concat(Array.from({ length: 3 + i }, (_, seed) => page(seed)));
      await ask('PUT', `${path}/objects/1`, { key, bytes });
    }
    const { pools } = (await ask('GET', '/v1/pools')).json;
    expect(pools).toEqual([
      expect.objectContaining({ owner: 'export:disk' }),
      expect.objectContaining({ owner: 'client:anonymous', kind: 'ephemeral', pages: 3 }),
      expect.objectContaining({ owner: 'client:anonymous', kind: 'persistent', pages: 4 }),
    ]);
  });

  it('is one of 16 of its client, and of 256 of all', async () => {
    const { ask, makePool } = await startAdmin();
    for (let i = 0; i < 256; i++) await makePool({ client: `c${i % 16}` });
    const tooMany = async (client: string) => {
      return (await ask('POST', '/v1/pools', { json: { kind: 'ephemeral', client } })).json.detail;
    };
    expect(await tooMany('c17')).toContain('256 pools of clients');
    const { pools } = (await ask('GET', '/v1/pools')).json;
    await ask('DELETE', `/v1/pools/${(pools as { id: number }[])[1]?.id}`); // one of c0
    expect(await tooMany('c1')).toContain('c1 has 16 pools');
    await makePool({ client: 'c0' });
  });
});

test('pages that may vanish take nothing of what those of the same client may that may not', async () => {
  const { ask, makePool, tmem } = await startAdmin({ memoryBytes: 8 * MIB });
  const [clean, kept] = [await makePool(), await makePool({ kind: 'persistent' })];
  for (let object = 0; object < 6; object++) {
    const { path, key } = clean;
    await ask('PUT', `${path}/objects/${object}`, { key, bytes: randomBytes(MIB) });
  }
  expect(tmem.usedBytes).toBeGreaterThan(5 * MIB);
  const { path, key } = kept;
  const { status } = await ask('PUT', `${path}/objects/1`, { key, bytes: randomBytes(MIB) });
  expect(status).toBe(200);
});

test('pages that may not vanish take at most half the memory, whoever has them', async () => {
  const { ask, makePool } = await startAdmin({ memoryBytes: 8 * MIB });
  for (let i = 0; i < 4; i++) {
    const { path, key } = await makePool({ kind: 'persistent', client: `c${i}` });
    for (let object = 0; object < 4; object++) {
      await ask('PUT', `${path}/objects/${object}`, { key, bytes: randomBytes(MIB) });
    }
  }
  const { json } = await ask('GET', '/v1/status');
  let bytes = 0;
  for (const pool of json.pools as { bytes: number }[]) bytes += pool.bytes;
  expect(bytes).toBeGreaterThan(3 * MIB);
  expect(bytes).toBeLessThanOrEqual(4 * MIB);
});
