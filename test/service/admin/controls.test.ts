import { expect, onTestFinished, test, vi } from 'vitest';
import { ClientPools } from '../../../src/admin/pools/client-pools.ts';
import { ServerStatistics } from '../../../src/nbd/statistics.ts';
import { ServiceControls } from '../../../src/service/admin/controls.ts';
import { quietGovernor } from '../../admin/quiet-governor.ts';
import { smallStack } from '../../metrics/scraped.ts';
import { recordingsTo } from '../recording/quiet-recordings.ts';

function newControls() {
  const tmem = smallStack();
  const pools = new ClientPools(tmem, 4096);
  const governor = quietGovernor(tmem);
  const controls = new ServiceControls(
    {
      tmem,
      exports: [],
      server: new ServerStatistics(),
      memory: { limitBytes: 64 * 2 ** 20, bufferBytes: () => 0 },
      codecName: 'lz4 (native)',
      isStopping: () => false,
      governor,
      recordings: recordingsTo().recordings,
    },
    pools,
  );
  return { controls, pools, governor };
}

test('a pool of a client that is ending is not there for those who would drop of it', async () => {
  const { controls, pools } = newControls();
  const options = { pageBytes: 4096, isExclusive: false, client: 'c' };
  const { pool, key } = pools.create({ kind: 'persistent', ...options }, undefined);
  for (let index = 0; index < 600; index++) pool.put(0, index, Buffer.alloc(4096));
  const ending = pools.destroy(pools.open(pool.id, key));
  const notFound = expect.objectContaining({ kind: 'not-found' });
  expect(() => controls.flushObject(pool.id, 0)).toThrow(notFound);
  await expect(controls.flushPool(pool.id)).rejects.toEqual(notFound);
  expect(await ending).toBe(600);
});

test('a share that is set has the governor see to caps at once', () => {
  const { controls, pools, governor } = newControls();
  const fitCaps = vi.spyOn(governor, 'fitCaps');
  const options = { pageBytes: 4096, isExclusive: false, client: 'c' };
  const { pool } = pools.create({ kind: 'ephemeral', ...options }, undefined);
  expect(controls.setPoolShare(pool.id, { capBytes: 0 })).toMatchObject({ capBytes: 0 });
  expect(fitCaps).toHaveBeenCalledOnce();
});

test('the time that a service is up is that of a clock that nobody sets', () => {
  const { controls } = newControls();
  vi.useFakeTimers({ toFake: ['Date', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const before = controls.status().uptimeSeconds;
  for (const year of [1970, 2126]) {
    vi.setSystemTime(new Date(`${year}-01-02T03:04:05Z`));
    expect(controls.status().uptimeSeconds).toBe(before);
  }
  vi.advanceTimersByTime(90_000);
  expect(controls.status().uptimeSeconds).toBeCloseTo(before + 90, 6);
});
