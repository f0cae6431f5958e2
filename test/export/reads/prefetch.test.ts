import { expect, test } from 'vitest';
import { turnsWhile } from '../../tools/turns.ts';
import { KIB, MIB, makeExport, quiet, read } from '../fixture.ts';

const PAGE = 4 * KIB;
const always = (): boolean => true;

test('a prefetched range is in the cache, in pieces of at most 256 KiB', async () => {
  const parts = makeExport({ sizeBytes: 2 * MIB + 10 });
  parts.storage.onRead = (_, length) => expect(length).toBeLessThanOrEqual(256 * KIB);
  await parts.target.reads.prefetch(PAGE + 1, 2 * MIB - PAGE, always);
  expect(parts.cache.has(0)).toBe(false);
  for (let page = 1; page <= 512; page++) expect(parts.cache.has(page)).toBe(true);
  expect(parts.storage.requests.read).toBeLessThanOrEqual(9);
  expect(parts.buffers.lentBytes).toBe(0);
});

test('what is cached or under way is not read again', async () => {
  const parts = makeExport();
  const hold = parts.storage.holdNext('read');
  const reading = read(parts, 0, 4 * PAGE);
  parts.cache.put(4, parts.disk, 4 * PAGE);
  await parts.target.reads.prefetch(0, 5 * PAGE, always);
  expect(parts.storage.requests.read).toBe(1);
  hold.release();
  await reading;
});

test('a prefetch stops where it is told to, and where the disk fails', async () => {
  const parts = makeExport();
  let asked = 0;
  await parts.target.reads.prefetch(0, MIB, () => asked++ < 2);
  expect(parts.storage.requests.read).toBe(2);
  parts.storage.failNext('read');
  await expect(parts.target.reads.prefetch(0, MIB, always)).rejects.toMatchObject({ kind: 'io' });
  expect(parts.buffers.lentBytes).toBe(0);
  await parts.target.reads.prefetch(0, MIB, always); // the turn that failed was given back
});

test('a prefetch lets others go on between its pieces, of what is cached and of what is here at once', async () => {
  const { target } = makeExport();
  const prefetch = () => target.reads.prefetch(0, MIB, always);
  expect(await turnsWhile(prefetch)).toBeGreaterThanOrEqual(4); // as many as pieces
  expect(await turnsWhile(prefetch)).toBeGreaterThanOrEqual(4);
});

test('many prefetches together leave others as many turns', async () => {
  const { target } = makeExport();
  const prefetch = () => target.reads.prefetch(0, MIB, always);
  await prefetch();
  const prefetches = () => Promise.all(Array.from({ length: 40 }, prefetch));
  expect(await turnsWhile(prefetches)).toBeGreaterThanOrEqual(40); // of 160 pieces, four at a time
});

test('many prefetches leave buffers to readers', async () => {
  const parts = makeExport({ sizeBytes: 64 * MIB, bufferBytes: 4 * MIB });
  const held: (() => void)[] = [];
  parts.storage.onRead = () => new Promise((resolve) => held.push(resolve));
  const prefetches = Array.from({ length: 40 }, (_, i) =>
    parts.target.reads.prefetch(i * MIB, MIB, always),
  );
  await quiet();
  expect(held.length).toBe(4);
  parts.storage.onRead = undefined;
  const data = await read(parts, 50 * MIB, 256 * KIB);
  expect(data.equals(parts.disk.subarray(50 * MIB, 50 * MIB + 256 * KIB))).toBe(true);
  for (const release of held) release();
  await Promise.all(prefetches);
  for (let page = 0; page < 40 * 256; page++) expect(parts.cache.has(page)).toBe(true);
  expect(parts.buffers.lentBytes).toBe(0);
});
