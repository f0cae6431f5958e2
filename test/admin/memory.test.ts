import { expect, test } from 'vitest';
import { MIB, page, startAdmin } from './fixture.ts';

/** A small stack in a service of 64 MiB, under a governor that sees no pressure. */
async function startGoverned(memoryBytes = 8 * MIB) {
  const admin = await startAdmin({ memoryBytes });
  return { ...admin, stackBytes: admin.tmem.limitBytes };
}

test('a lower limit holds, counts the buffers in, and can be taken back', async () => {
  const { ask, tmem, stackBytes } = await startGoverned();
  const pool = tmem.createPool({ kind: 'ephemeral' });
  for (let i = 0; i < 1000; i++) pool.put(0, i, page(i));
  const lower = { limitBytes: 64 * MIB - stackBytes / 2 };
  const { json } = await ask('PUT', '/v1/memory', { json: lower });
  expect(json).toMatchObject({
    configuredLimitBytes: lower.limitBytes,
    limitBytes: lower.limitBytes,
  });
  expect(tmem.limitBytes).toBe(stackBytes / 2);
  for (let i = 0; i < 1000; i++) pool.put(1, i, page(i));
  expect(tmem.usedBytes).toBeLessThanOrEqual(stackBytes / 2);
  const back = await ask('PUT', '/v1/memory', { json: { limitBytes: 64 * MIB } });
  expect(back.json.configuredLimitBytes).toBe(64 * MIB);
});

test.each([
  [0, 'limitBytes'],
  [MIB, 'the buffers of requests alone take 56M'],
  [64 * MIB + 1, 'the tables of this service were made for 64M'],
  [60 * MIB + 0.5, 'limitBytes'],
])('a limit of %d bytes is refused and changes nothing', async (limitBytes, message) => {
  const { ask, tmem, stackBytes } = await startGoverned();
  const { status, json } = await ask('PUT', '/v1/memory', { json: { limitBytes } });
  expect([status, json.detail]).toEqual([400, expect.stringContaining(message)]);
  expect(tmem.limitBytes).toBe(stackBytes);
});

test('what the governor sees is in the status', async () => {
  const { ask, governor } = await startGoverned();
  expect((await ask('GET', '/v1/status')).json.memory).toMatchObject({ pressure: null });
  governor.start();
  expect((await ask('GET', '/v1/status')).json.memory).toMatchObject({
    pressure: { reason: 'calm', psiSomeAvg10: 12.5 },
  });
});

test('a shrink goes through the governor, in slices', async () => {
  const { ask, tmem } = await startGoverned();
  const pool = tmem.createPool({ kind: 'ephemeral' });
  for (let i = 0; i < 1000; i++) pool.put(0, i, page(i));
  const before = tmem.usedBytes;
  const { json } = await ask('POST', '/v1/shrink', { json: { bytes: 1000 * MIB } });
  expect(json.freedBytes).toBeGreaterThan(0);
  expect(before - tmem.usedBytes).toBe(json.freedBytes);
});

test('what is guaranteed to an owner is what the governor leaves', async () => {
  const { ask, governor, tmem } = await startGoverned(60 * MIB);
  const { id } = tmem.createPool({ kind: 'ephemeral' });
  const before = governor.state.floorBytes;
  const share = (minimumBytes: number) => {
    return ask('PUT', `/v1/pools/${id}/share`, { json: { minimumBytes } });
  };
  await share(40 * MIB);
  expect(governor.state.floorBytes).toBe(48 * MIB);
  await share(0);
  expect(governor.state.floorBytes).toBe(before);
});

test('what was guaranteed to a client is given up with its last pool', async () => {
  const { ask, governor, makePool } = await startGoverned(60 * MIB);
  const { floorBytes } = governor.state;
  const [one, two] = [await makePool(), await makePool()];
  await ask('PUT', `${one.path}/share`, { json: { minimumBytes: 40 * MIB } });
  await ask('DELETE', one.path);
  expect(governor.state.floorBytes).toBe(48 * MIB);
  await ask('DELETE', two.path);
  expect(governor.state.floorBytes).toBe(floorBytes);
});

test('no more is guaranteed than there is, to all together, and a refusal changes nothing', async () => {
  const { ask, governor, cache, makePool } = await startGoverned(60 * MIB);
  const { path } = await makePool();
  const share = async (target: string, minimumBytes: number) => {
    return (await ask('PUT', `${target}/share`, { json: { minimumBytes } })).status;
  };
  expect(await share('/v1/exports/disk', Number.MAX_SAFE_INTEGER)).toBe(400);
  expect(cache.pool.account.minimumBytes).toBe(0);
  expect(await share('/v1/exports/disk', 40 * MIB)).toBe(200);
  expect(await share(path, 20 * MIB + 1)).toBe(400);
  expect(await share(path, 20 * MIB)).toBe(200);
  expect(await share(path, 20 * MIB)).toBe(200);
  expect(governor.state.floorBytes).toBe(60 * MIB);
});

test('a limit holds what is guaranteed, and the metric shows the one that is set', async () => {
  const { ask, send } = await startGoverned(60 * MIB);
  const shown = async () => {
    const { bytes } = await send('GET', '/metrics');
    return Number(/^tmem_memory_limit_bytes (\d+)$/m.exec(bytes.toString())?.[1]);
  };
  await ask('PUT', '/v1/exports/disk/share', { json: { minimumBytes: 20 * MIB } });
  const low = await ask('PUT', '/v1/memory', { json: { limitBytes: 24 * MIB - 1 } });
  expect([low.status, low.json.detail]).toEqual([
    400,
    expect.stringContaining('lower the minimums'),
  ]);
  expect(await shown()).toBe(64 * MIB);
  expect((await ask('PUT', '/v1/memory', { json: { limitBytes: 24 * MIB } })).status).toBe(200);
  expect(await shown()).toBe(24 * MIB);
});
