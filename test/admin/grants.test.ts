import { expect, test } from 'vitest';
import { type AdminFixture, page, startAdmin } from './fixture.ts';

async function grantTo(admin: AdminFixture, client: string, sharedName = 'libs'): Promise<string> {
  return String((await admin.ask('PUT', `/v1/grants/${client}/${sharedName}`)).json.key);
}

async function join(admin: AdminFixture, client: string, grantKey: string, more = {}) {
  const request = { client, sharedName: 'libs', ...more };
  return admin.makePool(request, { 'tmem-grant-key': grantKey });
}

test('clients that were granted a name have the same pages, each with a key of its own', async () => {
  const admin = await startAdmin();
  const a = await join(admin, 'a', await grantTo(admin, 'a'));
  const b = await join(admin, 'b', await grantTo(admin, 'b'));
  expect(a.path).toBe(b.path);
  expect(a.key).not.toBe(b.key);
  await admin.ask('PUT', `${a.path}/objects/1/pages/0`, { key: a.key, bytes: page(1) });
  const { bytes } = await admin.ask('GET', `${b.path}/objects/1/pages/0`, { key: b.key });
  expect(bytes.equals(page(1))).toBe(true);
  expect((await admin.ask('GET', '/v1/pools')).json.pools).toContainEqual(
    expect.objectContaining({ owner: 'shared:libs', isShared: true }),
  );
});

test('who was not granted it, or shows another key than that of the grant, gets no pool', async () => {
  const admin = await startAdmin();
  const grantKey = await grantTo(admin, 'a');
  const other = await grantTo(admin, 'a', 'other');
  const json = { kind: 'ephemeral', sharedName: 'libs', client: 'a' };
  const refusals: [object, Record<string, string>][] = [
    [json, {}],
    [json, { 'tmem-grant-key': other }],
    [{ ...json, client: 'b' }, { 'tmem-grant-key': grantKey }],
    [{ ...json, sharedName: 'more' }, { 'tmem-grant-key': grantKey }],
  ];
  for (const [request, headers] of refusals) {
    const { status } = await admin.ask('POST', '/v1/pools', { json: request, headers });
    expect(status).toBe(403);
  }
  expect(admin.tmem.pools.size).toBe(1);
});

test('a revoked grant ends the pools it gave, and only those', async () => {
  const admin = await startAdmin();
  const grantKey = await grantTo(admin, 'a');
  const a = await join(admin, 'a', grantKey);
  const again = await join(admin, 'a', grantKey);
  const b = await join(admin, 'b', await grantTo(admin, 'b'));
  const own = await admin.makePool({ client: 'a' });
  await admin.ask('PUT', `${b.path}/objects/1/pages/0`, { key: b.key, bytes: page(1) });
  const revoked = await admin.ask('DELETE', '/v1/grants/a/libs');
  expect(revoked.json).toEqual({ destroyedPools: 2 });
  const status = async ({ path, key }: typeof a) => {
    return (await admin.ask('PUT', `${path}/objects/1/pages/1`, { key, bytes: page(2) })).status;
  };
  expect([await status(a), await status(again)]).toEqual([403, 403]);
  expect([await status(b), await status(own)]).toEqual([200, 200]);
  const { bytes } = await admin.ask('GET', `${b.path}/objects/1/pages/0`, { key: b.key });
  expect(bytes.equals(page(1))).toBe(true);
  await expect(join(admin, 'a', grantKey)).rejects.toThrow('may not share libs');
  expect((await admin.ask('DELETE', '/v1/grants/a/libs')).status).toBe(404);
  const late = admin.tmem.createPool({ kind: 'ephemeral', client: 'a', sharedName: 'libs' });
  expect(late.isShared).toBe(false);
});

test('a grant is the same when it is granted again, and another after it was revoked', async () => {
  const admin = await startAdmin();
  const grantKey = await grantTo(admin, 'a');
  expect(await grantTo(admin, 'a')).toBe(grantKey);
  await admin.ask('DELETE', '/v1/grants/a/libs');
  expect(await grantTo(admin, 'a')).not.toBe(grantKey);
});

test('a shared pool is ephemeral, and has one page size', async () => {
  const admin = await startAdmin();
  const grantKey = await grantTo(admin, 'a');
  await join(admin, 'a', grantKey, { pageBytes: 8192 });
  await expect(join(admin, 'a', grantKey)).rejects.toThrow('pages of 8192 bytes');
  await expect(join(admin, 'a', grantKey, { kind: 'persistent' })).rejects.toThrow('not both');
});

test('without a key a shared pool ends for all that share it', async () => {
  const admin = await startAdmin();
  const a = await join(admin, 'a', await grantTo(admin, 'a'));
  const b = await join(admin, 'b', await grantTo(admin, 'b'));
  expect((await admin.ask('DELETE', a.path)).status).toBe(200);
  for (const { path, key } of [a, b]) {
    expect((await admin.ask('GET', `${path}/objects/1`, { key })).status).toBe(404);
  }
  expect(admin.tmem.pools.size).toBe(1);
});

test('there are at most 1024 grants', async () => {
  const admin = await startAdmin();
  for (let i = 0; i < 1024; i++) await grantTo(admin, 'a', `n${i}`);
  expect((await admin.ask('PUT', '/v1/grants/a/one-more')).status).toBe(507);
});
