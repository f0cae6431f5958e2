import fs from 'node:fs';
import { open } from 'node:fs/promises';
import { beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { BLOCK_BYTES } from '../../src/snapshot/head.ts';
import { SEGMENT_BYTES } from '../../src/snapshot/segment.ts';
import { fill, load, makePlace, type Place, pagesHeld, save, serve, upTo } from './fixture.ts';

let place: Place;

beforeEach(async () => {
  place = makePlace();
  const served = await serve(place);
  fill(served, upTo(20));
  await save(place, served);
});

/** Has every open file answer that to one call, as the system does. */
async function failWith(code: string, call: 'read' | 'write' | 'datasync'): Promise<void> {
  const handle = await open(place.snapshotPath);
  await handle.close();
  const failure = Object.assign(new Error(`${code}: injected, ${call}`), { code });
  const spy = vi.spyOn(Object.getPrototypeOf(handle), call).mockRejectedValue(failure);
  onTestFinished(() => spy.mockRestore());
}

it.each([
  ['EIO', 'read', 'check the disk that it is on'],
  ['EIO', 'write', 'check the disk that it is on'],
  ['EIO', 'datasync', 'check the disk that it is on'],
  ['ENOSPC', 'write', 'make room there'],
] as const)(
  'a snapshot is named that cannot be used for %s of a %s',
  async (code, call, advice) => {
    await failWith(code, call);
    const { loader, log } = await load(place, await serve(place));
    expect(loader.state).toBe('cold');
    const reason = `the system answered ${code}; ${advice}; the cache starts empty`;
    expect(log).toEqual([`cannot use "${place.snapshotPath}" as a snapshot: ${reason}`]);
  },
);

it('a snapshot that cannot be read is not replaced, and the failure names it', async () => {
  const bytes = fs.readFileSync(place.snapshotPath);
  await failWith('EIO', 'read');
  await expect(save(place, await serve(place))).rejects.toMatchObject({
    kind: 'io',
    message: expect.stringMatching(/^cannot save the cache to ".*": the system answered EIO; /),
  });
  expect(fs.readFileSync(place.snapshotPath).equals(bytes)).toBe(true);
});

it('a part of a snapshot that cannot be read costs the pages that are in it', async () => {
  const pages = upTo(1500);
  const served = await serve(place);
  fill(served, pages);
  await save(place, served);
  const secondAt = 2 * BLOCK_BYTES + SEGMENT_BYTES;
  const lost = () => Object.assign(new Error('EIO: injected'), { code: 'EIO' });
  const handle = await open(place.snapshotPath);
  const prototype: typeof handle = Object.getPrototypeOf(handle);
  await handle.close();
  const { read } = prototype;
  const spy = vi.spyOn(prototype, 'read');
  onTestFinished(() => spy.mockRestore());
  const unread: unknown[] = [];
  spy.mockImplementation(function (this: typeof handle, ...call: unknown[]) {
    if (call[3] !== secondAt) return Reflect.apply(read, this, call);
    unread.push(call[3]);
    return Promise.reject(lost());
  });
  const after = await serve(place);
  const { loader } = await load(place, after);
  const { loaded, skippedDamaged } = loader.statistics;
  expect(unread).toEqual([secondAt]);
  expect(loader.state).toBe('done');
  expect(pagesHeld(after, pages).length).toBe(loaded);
  expect(loaded + skippedDamaged).toBe(1500);
  expect(Math.min(loaded, skippedDamaged)).toBeGreaterThan(100);
});
