import { expect, onTestFinished, test } from 'vitest';
import { Governor } from '../../src/governor/governor.ts';
import { smallStack } from '../metrics/scraped.ts';
import { MIB, page, startAdmin } from './fixture.ts';

/** A small stack in a service of 64 MiB, under a governor that sees no pressure. */
async function startGoverned(memoryBytes = 8 * MIB) {
  const tmem = smallStack(memoryBytes);
  const governor = new Governor({
    reclaimable: {
      get usedBytes() {
        return tmem.usedBytes;
      },
      get limitBytes() {
        return tmem.limitBytes;
      },
      setLimit: (bytes) => tmem.setLimit(bytes),
      shrink: (bytes) => tmem.shrink(bytes),
    },
    configuredBytes: tmem.limitBytes,
    log: { info: () => undefined },
    read: () => ({
      groupStalls: { someShare10s: 0.125, someTotalUs: 0, fullTotalUs: 0 },
      machineStalls: undefined,
      groupRooms: [],
      machineRoom: undefined,
    }),
  });
  onTestFinished(() => governor.stop());
  const admin = await startAdmin({ parts: { tmem, governor } });
  return { ...admin, tmem, governor, stackBytes: tmem.limitBytes };
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
