import { expect, test } from 'vitest';
import { ClientPools } from '../../src/admin/client-pools.ts';
import { ServerStatistics } from '../../src/nbd/statistics.ts';
import { ServiceControls } from '../../src/service/controls.ts';
import { quietGovernor } from '../admin/quiet-governor.ts';
import { smallStack } from '../metrics/scraped.ts';
import { recordingsTo } from './quiet-recordings.ts';

test('a pool of a client that is ending is not there for those who would drop of it', async () => {
  const tmem = smallStack();
  const pools = new ClientPools(tmem, 4096);
  const controls = new ServiceControls(
    {
      tmem,
      exports: [],
      server: new ServerStatistics(),
      memory: { limitBytes: 64 * 2 ** 20, bufferBytes: () => 0 },
      codecName: 'lz4 (native)',
      isStopping: () => false,
      governor: quietGovernor(tmem),
      recordings: recordingsTo().recordings,
    },
    pools,
  );
  const options = { pageBytes: 4096, isExclusive: false, client: 'c' };
  const { pool, key } = pools.create({ kind: 'persistent', ...options }, undefined);
  for (let index = 0; index < 600; index++) pool.put(0, index, Buffer.alloc(4096));
  const ending = pools.destroy(pools.open(pool.id, key));
  const notFound = expect.objectContaining({ kind: 'not-found' });
  expect(() => controls.flushObject(pool.id, 0)).toThrow(notFound);
  await expect(controls.flushPool(pool.id)).rejects.toEqual(notFound);
  expect(await ending).toBe(600);
});
