import { describe, expect, test } from 'vitest';
import { Chunk, Command, NbdErrno } from '../../../src/nbd/protocol.ts';
import { KIB, MIB, makeExport, read } from '../../export/fixture.ts';
import { TestClient } from './transmission-fixture.ts';

const { READ, FLUSH } = Command;
const SIZE = 33 * MIB;
const big = makeExport({ sizeBytes: SIZE });

/** An export of 4 MiB, with every other 64 KiB cached, or all, or nothing. */
async function partsWith(cached: 'nothing' | 'all' | 'half', bufferBytes?: number) {
  const parts = makeExport({ sizeBytes: 4 * MIB, ...(bufferBytes && { bufferBytes }) });
  const step = cached === 'half' ? 128 * KIB : 64 * KIB;
  for (let at = 0; cached !== 'nothing' && at < 4 * MIB; at += step) {
    await read(parts, at, 64 * KIB);
  }
  return parts;
}

describe.each([true, false])('long reads with structured replies: %s', (isStructured) => {
  describe.each(['nothing', 'all', 'half'] as const)('and %s cached', (cached) => {
    test.each([
      [0, 256 * KIB + 1],
      [1, 256 * KIB + 1],
      [4095, 300 * KIB],
      [0, MIB],
      [123_456, 3 * MIB],
      [0, 4 * MIB],
    ])('give the bytes at %d, %d of them', async (offset, length) => {
      const parts = await partsWith(cached);
      const client = new TestClient({ parts, isStructured });
      const [answer] = await client.ask({ command: READ, offset, length });
      expect(answer?.data?.equals(parts.disk.subarray(offset, offset + length))).toBe(true);
      expect(parts.buffers.lentBytes).toBe(0);
      expect(parts.lender?.lentCount).toBe(0);
    });
  });

  test('may be of 32 MiB, and no more', async () => {
    const client = new TestClient({ parts: big, isStructured });
    const [whole, more] = await client.ask(
      { command: READ, offset: 5, length: 32 * MIB },
      { command: READ, offset: 0, length: 32 * MIB + 1 },
    );
    expect(whole?.data?.equals(big.disk.subarray(5, 5 + 32 * MIB))).toBe(true);
    expect(more?.errno).toBe(NbdErrno.EINVAL);
    expect(big.buffers.lentBytes).toBe(0);
  });

  test('come through the smallest pool, with others before and behind', async () => {
    const parts = await partsWith('nothing', 1);
    const client = new TestClient({ parts, isStructured });
    const requests = Array.from({ length: 24 }, (_, i) => ({
      command: READ,
      offset: (i * 150_000) % (3 * MIB),
      length: i % 5 === 4 ? MIB - 7 : 200 * KIB,
    }));
    const answers = await client.ask(...requests);
    for (const [i, { offset, length }] of requests.entries()) {
      expect(answers[i]?.data?.equals(parts.disk.subarray(offset, offset + length))).toBe(true);
    }
    expect(parts.buffers.lentBytes).toBe(0);
  });

  test('that fail at once are answered with an error', async () => {
    const parts = await partsWith('nothing');
    parts.storage.failNext('read', 'EIO', 20);
    const client = new TestClient({ parts, isStructured });
    const [failed] = await client.ask({ command: READ, length: 2 * MIB });
    const [flushed] = await client.ask({ command: FLUSH });
    expect([failed?.errno, flushed?.errno]).toEqual([NbdErrno.EIO, 0]);
    expect(client.failure).toBeUndefined();
    const counts: unknown[] = [];
    client.statistics.requestsOf('disk').forEach((...each) => {
      counts.push(each);
    });
    expect(counts).toContainEqual(['read', NbdErrno.EIO, 1]);
    expect(parts.buffers.lentBytes).toBe(0);
  });
});

test('a structured long read that fails in the middle ends with an error, and asks for no more', async () => {
  const parts = await partsWith('half');
  parts.storage.onRead = (offset) => {
    if (offset >= MIB) throw new Error('bad');
  };
  const readsBefore = parts.target.statistics.readMisses;
  const client = new TestClient({ parts });
  const [answer] = await client.ask({ command: READ, length: 4 * MIB });
  expect(answer?.errno).toBe(NbdErrno.EIO);
  expect(answer?.chunks.at(-1)).toBe(Chunk.ERROR);
  const { readHits, readMisses } = parts.target.statistics;
  expect(readHits + readMisses - readsBefore).toBeLessThan(12); // of 16 pieces
  expect(parts.buffers.lentBytes).toBe(0);
});

test('a structured long read that fails while other parts are under way ends when they do', async () => {
  const parts = await partsWith('nothing');
  parts.storage.failNext('read');
  const holds = [1, 2, 3].map(() => parts.storage.holdNext('read'));
  const client = new TestClient({ parts });
  client.send(client.request({ command: READ, length: 4 * MIB }));
  await Promise.all(holds.map(({ arrived }) => arrived));
  await client.settle();
  expect(client.answers).toEqual([]);
  for (const hold of holds) hold.release();
  await client.settle();
  expect(client.answers.map(({ errno }) => errno)).toEqual([NbdErrno.EIO]);
  expect(parts.buffers.lentBytes).toBe(0);
});

test('pages are sent in the order of the image, in whatever order they came into memory', async () => {
  const parts = makeExport();
  for (const page of [7, 6, 2, 3, 8, 0, 1, 5, 4]) await read(parts, page * 4 * KIB, 4 * KIB);
  const client = new TestClient({ parts, isSlow: true });
  client.send(client.request({ command: READ, length: 36 * KIB }));
  expect(parts.lender?.lentCount).toBe(9);
  client.isSlow = false;
  await client.settle();
  expect(client.answers[0]?.data?.equals(parts.disk.subarray(0, 36 * KIB))).toBe(true);
});

test('a simple long read that fails behind its header drops the connection', async () => {
  const parts = await partsWith('nothing');
  parts.storage.onRead = (offset) => {
    if (offset >= MIB) throw new Error('bad');
  };
  const client = new TestClient({ parts, isStructured: false });
  client.send(client.request({ command: READ, length: 2 * MIB }));
  client.send(client.request({ command: FLUSH }));
  await client.settle();
  expect(client.failure).toMatch('behind its header');
  expect(client.answers).toEqual([]);
  expect(parts.buffers.lentBytes).toBe(0);
});

test('a simple long read of a client that has gone is no violation', async () => {
  const parts = await partsWith('nothing');
  const client = new TestClient({ parts, isStructured: false, isSlow: true });
  client.send(client.request({ command: READ, length: 4 * MIB }));
  await client.settle();
  expect(client.bytesInFlight).toBeGreaterThan(0);
  await client.close();
  expect(client.failure).toBeUndefined();
  expect(parts.buffers.lentBytes).toBe(0);
});

test('a simple long read of what is cached is left for others after each piece', async () => {
  const parts = await partsWith('all');
  const client = new TestClient({ parts, isStructured: false });
  client.send(client.request({ command: READ, length: 4 * MIB }));
  let pieces = 0;
  for (let i = 0; i < 5000; i++) {
    await undefined; // no turn of the event loop, however fast the client takes it
    pieces += client.readSome(100);
  }
  expect(pieces).toBe(1);
  await client.settle();
  expect(client.answers[0]?.data?.equals(parts.disk)).toBe(true);
});

test('replies that were ready during a simple long read come behind it', async () => {
  const parts = await partsWith('all');
  const hold = parts.storage.holdNext('sync');
  const client = new TestClient({ parts, isStructured: false, isSlow: true });
  client.send(
    client.request({ command: FLUSH }),
    client.request({ command: READ, length: 4 * MIB }),
    client.request({ command: READ, length: 4096 }),
  );
  await client.settle();
  hold.release();
  await client.settle();
  client.isSlow = false;
  await client.settle();
  const lengths = client.answers.map(({ data }) => data?.length);
  expect(lengths).toEqual([4 * MIB, undefined, 4096]);
});

test('another client reads on while one takes nothing of its long read', async () => {
  big.cache.flush(0, SIZE / 4096); // with all of it cached nothing would be waited for
  const slow = new TestClient({ parts: big, isSlow: true });
  slow.send(slow.request({ command: READ, length: 32 * MIB }));
  await slow.settle();
  const other = new TestClient({ parts: big });
  const [answer] = await other.ask({ command: READ, offset: 32 * MIB, length: MIB });
  expect(answer?.data?.length).toBe(MIB);
  expect(slow.bytesInFlightMax).toBeLessThan(4 * MIB);
  slow.isSlow = false;
  await slow.settle();
  expect(slow.answers[0]?.data?.equals(big.disk.subarray(0, 32 * MIB))).toBe(true);
});
