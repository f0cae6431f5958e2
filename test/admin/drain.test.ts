import { expect, onTestFinished, test, vi } from 'vitest';
import type { WriteBackStatus } from '../../src/admin/api.ts';
import type { Export } from '../../src/export/export.ts';
import { Export as RealExport } from '../../src/export/export.ts';
import { rawImage } from '../../src/image/raw.ts';
import { BufferPool } from '../../src/lib/buffer-pool.ts';
import { TmemError } from '../../src/lib/errors.ts';
import { Cleancache } from '../../src/tmem/cleancache.ts';
import { Frontswap } from '../../src/tmem/frontswap.ts';
import { smallStack } from '../metrics/scraped.ts';
import { FaultyStorage } from '../storage/faulty-storage.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';
import { type AdminFixture, MIB, PAGE, page, startAdmin } from './fixture.ts';

/** An export in the mode `writeback` whose writer does nothing by itself. */
function writeBackExport(mode: 'writeback' | 'swap' = 'writeback') {
  const tmem = smallStack();
  const disk = Buffer.alloc(MIB);
  const storage = new FaultyStorage(new MemoryStorage(disk));
  const account = tmem.createAccount({ name: 'disk' });
  const target = new RealExport({
    name: 'disk',
    image: rawImage(storage, 'disk'),
    cache: new Cleancache(tmem, PAGE, undefined, account),
    buffers: new BufferPool(MIB, PAGE),
    mode,
    writeBack: {
      frontswap: new Frontswap(tmem, PAGE, undefined, account),
      limitPages: 64,
      buffers: new BufferPool(4 * MIB, PAGE),
      tuning: {
        ageMsMax: Number.POSITIVE_INFINITY,
        highFraction: 2,
        lowFraction: 1,
        closesGaps: true,
      },
      onFailure: () => undefined,
    },
  });
  onTestFinished(() => target.close());
  return { tmem, disk, storage, target };
}

async function startDirty(pages: number) {
  const parts = writeBackExport();
  for (let i = 0; i < pages; i++) await writePage(parts.target, i);
  const { tmem, target } = parts;
  const admin = await startAdmin({ parts: { tmem, exports: [target] } });
  return { ...parts, admin };
}

async function writePage(target: Export, index: number): Promise<void> {
  expect(target.tryWrite(index * PAGE, PAGE, page(index), 0)).toBe(true);
}

const drain = (admin: AdminFixture, json?: object) =>
  admin.ask('POST', '/v1/exports/disk/drain', json === undefined ? {} : { json });

test('a drain brings every dirty page to the image, and the export is clean then', async () => {
  const { admin, disk } = await startDirty(5);
  const before = (await admin.ask('GET', '/v1/exports/disk')).json;
  expect(before.writeBack).toMatchObject({
    dirtyBytes: 5 * PAGE,
    limitBytes: 64 * PAGE,
    state: 'dirty',
  });
  expect((await drain(admin)).json).toEqual({ isClean: true, dirtyBytes: 0 });
  for (let i = 0; i < 5; i++) {
    expect(disk.subarray(i * PAGE, (i + 1) * PAGE).equals(page(i))).toBe(true);
  }
  const after = (await admin.ask('GET', '/v1/exports/disk')).json;
  expect(after.writeBack).toMatchObject({ dirtyBytes: 0, state: 'clean', oldestSeconds: 0 });
  expect(after.pages).toBe(before.pages);
});

test('the pages of an export are divided between its pools, and none is counted twice', async () => {
  const { admin, target } = await startDirty(5);
  target.cache.put(20, page(20), 0);
  const { pools } = (await admin.ask('GET', '/v1/pools')).json;
  expect(pools).toMatchObject([
    { owner: 'export:disk', kind: 'ephemeral', pages: 1 },
    { owner: 'export:disk', kind: 'persistent', pages: 5 },
  ]);
});

test('dirty pages are not flushed by hand', async () => {
  const { admin, target } = await startDirty(1);
  const id = target.writeBack?.tier.frontswap.pool.id;
  const { status, json } = await admin.ask('DELETE', `/v1/pools/${id}`);
  expect([status, json.detail]).toEqual([409, expect.stringContaining('drain it instead')]);
  expect((await drain(admin)).status).toBe(200);
});

test('what is on a swap device is not dropped by hand, and nobody is told to drain it', async () => {
  const { tmem, target } = writeBackExport('swap');
  await writePage(target, 0);
  const admin = await startAdmin({ parts: { tmem, exports: [target] } });
  const id = target.writeBack?.tier.frontswap.pool.id;
  const { status, json } = await admin.ask('DELETE', `/v1/pools/${id}`);
  expect([status, json.detail]).toEqual([409, expect.stringContaining('swap device "disk"')]);
  expect(json.detail).not.toContain('drain');
  expect((await drain(admin)).status).toBe(501);
});

test('a drain that cannot end says how much is left, and why is in the status', async () => {
  const { admin, storage } = await startDirty(3);
  storage.failNext('write', 'ENOSPC', 1000);
  const { status, json } = await drain(admin, { timeoutSeconds: 0.05 });
  expect([status, json]).toMatchObject([504, { isClean: false, dirtyBytes: 3 * PAGE }]);
  const { writeBack } = (await admin.ask('GET', '/v1/exports/disk')).json;
  expect(writeBack).toMatchObject({ state: 'failing', dirtyBytes: 3 * PAGE });
  expect((writeBack as { failure: string }).failure).not.toBe('');
});

/** What status and metrics say of writing back. */
async function written(admin: AdminFixture) {
  const { writeBack } = (await admin.ask('GET', '/v1/exports/disk')).json;
  const { state, oldestSeconds, failure } = writeBack as WriteBackStatus;
  const text = (await admin.send('GET', '/metrics')).bytes.toString();
  const failing = /^tmem_writeback_failing_pages\{export="disk"\} (\d+)$/m.exec(text)?.[1];
  return { state, hasAge: oldestSeconds > 0, hasFailure: failure !== null, failing };
}

test('a page that the image refused is failing, and old, while it waits and while it is tried', async () => {
  const { admin, storage, target } = await startDirty(1);
  storage.failNext('write', 'EIO');
  const hold = storage.holdNext('write'); // whoever tries again, the flush or the writer's own timer
  await expect(target.sync()).rejects.toMatchObject({ kind: 'io' });
  const failing = { state: 'failing', hasAge: true, hasFailure: true, failing: '1' };
  expect(await written(admin)).toEqual(failing);
  const synced = target.sync();
  await hold.arrived;
  expect(await written(admin)).toEqual(failing);
  hold.release();
  await synced;
  const clean = { state: 'clean', hasAge: false, hasFailure: false, failing: '0' };
  expect(await written(admin)).toEqual(clean);
});

test('nothing fails any more when what the image refused was discarded', async () => {
  const { admin, storage, target } = await startDirty(3);
  storage.failNext('write', 'EIO');
  await expect(target.sync()).rejects.toMatchObject({ kind: 'io' });
  await target.trim(0, 3 * PAGE);
  expect(await written(admin)).toMatchObject({ state: 'clean', hasFailure: false, failing: '0' });
});

test('a page that is on its way to an image that hangs is as old as it is', async () => {
  const { admin, storage, target } = await startDirty(1);
  const hold = storage.holdNext('write');
  const synced = target.sync();
  await hold.arrived;
  expect(await written(admin)).toMatchObject({ state: 'writing', hasAge: true });
  hold.release();
  await synced;
});

test('a drain that no further try can help is answered at once', async () => {
  const { admin, target } = await startDirty(2);
  const failure = new TmemError('io', 'what was written is lost');
  const tries = vi.spyOn(target, 'drain').mockRejectedValue(failure);
  const { status, json } = await drain(admin);
  expect([status, json]).toMatchObject([504, { isClean: false, dirtyBytes: 2 * PAGE }]);
  expect(tries).toHaveBeenCalledOnce();
});

test('an export that writes through is always clean; one that is not there is 404', async () => {
  const admin = await startAdmin();
  expect((await drain(admin)).json).toEqual({ isClean: true, dirtyBytes: 0 });
  expect((await admin.ask('POST', '/v1/exports/none/drain')).status).toBe(404);
  expect((await drain(admin, { timeoutSeconds: -1 })).status).toBe(400);
  expect((await drain(admin, { timeoutSeconds: 3601 })).status).toBe(400);
});

test('drains that do not end leave connections to others: the ninth is to come again', async () => {
  const { admin, storage } = await startDirty(1);
  storage.failNext('write', 'ENOSPC', 1_000_000);
  const url = admin.url.replace('/metrics', '/v1/exports/disk/drain');
  const hangUp = new AbortController();
  onTestFinished(() => hangUp.abort());
  const ask = (timeoutSeconds: number, signal: AbortSignal) =>
    fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ timeoutSeconds }),
      signal,
    });
  const waiting = Array.from({ length: 12 }, () => ask(3600, hangUp.signal));
  const settled = waiting.map((each) => each.catch(() => undefined));
  const turnedAway = await Promise.race(settled);
  expect([turnedAway?.status, turnedAway?.headers.get('retry-after')]).toEqual([503, '1']);
  const text = await turnedAway?.json();
  expect(text).toMatchObject({ detail: '8 long calls are under way; try again' });
  expect((await admin.send('GET', '/healthz')).status).toBe(200);
  hangUp.abort();
  await Promise.all(settled);
  let status = 503;
  while (status === 503) ({ status } = await drain(admin, { timeoutSeconds: 0 }));
  expect(status).toBe(504);
});
