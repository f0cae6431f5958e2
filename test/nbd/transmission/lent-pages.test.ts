import { describe, expect, test } from 'vitest';
import { Chunk, Command } from '../../../src/nbd/protocol.ts';
import { KIB, MIB, makeExport, read } from '../../export/fixture.ts';
import { TestClient } from './transmission-fixture.ts';

const { READ } = Command;
const PAGE = 4 * KIB;

/** A client that takes nothing yet, and an export with its first 96 KiB in hot. */
async function warm(isStructured = true) {
  const parts = makeExport();
  await read(parts, 0, 96 * KIB);
  return { parts, client: new TestClient({ parts, isStructured, isSlow: true }) };
}

describe.each([true, false])('a read of hot pages, structured: %s', (isStructured) => {
  test('is answered from where they lie, once, and gives them back', async () => {
    const { parts, client } = await warm(isStructured);
    const { hits } = parts.cache;
    client.send(client.request({ command: READ, offset: 3 * PAGE, length: 8 * PAGE }));
    expect(parts.lender?.lentCount).toBe(8);
    client.isSlow = false;
    await client.settle();
    const [answer] = client.answers;
    expect(answer?.data?.equals(parts.disk.subarray(3 * PAGE, 11 * PAGE))).toBe(true);
    expect(answer?.chunks).toEqual(isStructured ? [Chunk.OFFSET_DATA] : []);
    expect(parts.lender?.lentCount).toBe(0);
    expect(parts.target.statistics).toMatchObject({ readHits: 1, readMisses: 1 });
    expect(parts.cache.hits - hits).toBe(8);
  });

  test.each([
    ['begins inside a page', PAGE + 512, 8 * PAGE],
    ['ends inside a page', PAGE, 8 * PAGE + 512],
    ['is shorter than 32 KiB', PAGE, 7 * PAGE],
  ])('is copied where it %s', async (_, offset, length) => {
    const { parts, client } = await warm(isStructured);
    client.send(client.request({ command: READ, offset, length }));
    expect(parts.lender?.lentCount).toBe(0);
    client.isSlow = false;
    await client.settle();
    const expected = parts.disk.subarray(offset, offset + length);
    expect(client.answers[0]?.data?.equals(expected)).toBe(true);
  });
});

test.each([
  ['lent pages', true, 8 * PAGE, true],
  ['lent pages', false, 8 * PAGE, true],
  ['cached pages', true, PAGE, true],
  ['cached pages', false, PAGE, true],
  ['a part of a page', true, 9, true],
  ['nothing', true, 0, true],
  ['nothing', false, 0, true],
  ['pages of the image', true, PAGE, false],
  ['pages of the image', false, PAGE, false],
  ['many pages', true, 512 * KIB, true],
  ['many pages', false, 512 * KIB, true],
])('a read of %s is counted once, structured: %s', async (_, isStructured, length, isCached) => {
  const parts = makeExport();
  const { disk } = parts;
  // Zeros would lie in zcache, which lends nothing.
  for (let at = 112 * KIB; at < MIB; at += 128 * KIB) disk.copy(disk, at, at - 16 * KIB, at);
  for (let at = 0; isCached && at < length; at += 256 * KIB) await read(parts, at, 256 * KIB);
  const client = new TestClient({ parts, isStructured });
  await client.ask({ command: READ, length });
  const counts: unknown[] = [];
  client.statistics.requestsOf('disk').forEach((...each) => {
    counts.push(each);
  });
  expect(counts).toEqual([['read', 0, 1]]);
  const { counts: buckets } = client.statistics.latencies[READ]!;
  expect(buckets.reduce((sum, each) => sum + each)).toBe(1);
});
