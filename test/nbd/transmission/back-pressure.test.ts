import { describe, expect, test } from 'vitest';
import { Command, CommandFlag } from '../../../src/nbd/protocol.ts';
import { KIB, MIB, makeExport, read } from '../../export/fixture.ts';
import { type ClientOptions, TestClient } from './transmission-fixture.ts';

const { READ, WRITE, FLUSH, CACHE, BLOCK_STATUS } = Command;
const SIZE = 48 * MIB;
const parts = makeExport({ sizeBytes: SIZE, bufferBytes: 8 * MIB });
parts.storage.extent = async (offset, length) => ({
  length: Math.min(length, 512),
  isHole: (offset >> 9) % 2 === 1,
});

/** The most that may be on its way to one client: batches, lent pages, pooled buffers, statuses. */
const IN_FLIGHT_BYTES_MAX = 3.5 * MIB;

const at = (i: number, length: number): number => (i * length) % (SIZE - 33 * MIB);

type Flood = (i: number) => {
  command: number;
  flags?: number;
  offset?: number;
  length?: number;
  payload?: Buffer;
};

const floods: [string, number, Flood, ClientOptions?][] = [
  ['4 KiB reads', 3000, (i) => ({ command: READ, offset: at(i, 4 * KIB), length: 4 * KIB })],
  ['16 KiB reads', 800, (i) => ({ command: READ, offset: at(i, 16 * KIB), length: 16 * KIB })],
  ['odd reads', 800, (i) => ({ command: READ, offset: at(i, 20_001), length: 20_001 })],
  ['64 KiB reads', 300, (i) => ({ command: READ, offset: at(i, 64 * KIB), length: 64 * KIB })],
  ['256 KiB reads', 80, (i) => ({ command: READ, offset: at(i, MIB / 4), length: MIB / 4 })],
  ['long reads', 3, (i) => ({ command: READ, offset: i * 1000, length: 8 * MIB })],
  [
    'simple long reads',
    3,
    (i) => ({ command: READ, offset: i * 1000, length: 8 * MIB }),
    { isStructured: false },
  ],
  [
    'simple reads, long and short',
    60,
    (i) => ({ command: READ, offset: at(i, 70_000), length: i % 9 === 0 ? MIB : 70_000 }),
    { isStructured: false },
  ],
  ['reads of nothing', 40_000, () => ({ command: READ })],
  ['refused requests', 40_000, () => ({ command: READ, flags: 1 << 10 })],
  ['flushes', 40_000, () => ({ command: FLUSH })],
  ['prefetches', 40_000, () => ({ command: CACHE, length: 1 })],
  ['writes', 40_000, (i) => ({ command: WRITE, offset: i, payload: Buffer.alloc(1, i) })],
  ['refused writes', 40_000, () => ({ command: WRITE, offset: SIZE, payload: Buffer.alloc(9) })],
  ['statuses', 300, (i) => ({ command: BLOCK_STATUS, offset: i, length: 4 * MIB })],
  ['one status', 9000, () => ({ command: BLOCK_STATUS, flags: CommandFlag.REQ_ONE, length: 1 })],
];

describe.each(['nothing', 'all'])('a client that takes no replies, with %s cached', (cached) => {
  test.each(floods)(
    'is owed little, keeps nobody waiting, and gets all in the end: %s',
    async (_, count, flood, options) => {
      parts.cache.flush(0, SIZE / 4096);
      for (let from = 0; cached === 'all' && from < 16 * MIB; from += MIB / 4) {
        await read(parts, from, MIB / 4);
      }
      const client = new TestClient({ parts, isSlow: true, ...options });
      client.send(
        Buffer.concat(Array.from({ length: count }, (_each, i) => client.request(flood(i)))),
      );
      await client.settle();
      expect(client.isPaused).toBe(true);
      expect(client.bytesInFlight).toBeLessThan(IN_FLIGHT_BYTES_MAX);
      expect(parts.buffers.lentBytes).toBeLessThan(parts.buffers.totalBytes / 2);
      expect(client.transmission.waitingCount).toBeLessThanOrEqual(128);

      const other = new TestClient({ parts });
      const offset = SIZE - 2 * MIB;
      const [whole] = await other.ask({ command: READ, offset, length: MIB });
      expect(whole?.data?.length).toBe(MIB);

      client.isSlow = false;
      await client.settle();
      expect(client.answers.length).toBe(count);
      expect(client.bytesInFlightMax).toBeLessThan(IN_FLIGHT_BYTES_MAX);
      expect(client.failure).toBeUndefined();
      expect(parts.buffers.lentBytes).toBe(0);
      expect(parts.lender?.lentCount).toBe(0);
    },
  );
});

test.each(['one by one', 'in one piece'])(
  'pages that are lent to a slow client who asks %s come to 1 MiB at the most',
  async (how) => {
    const warm = makeExport({ sizeBytes: 8 * MIB });
    const client = new TestClient({ parts: warm, isSlow: true });
    const requests: Buffer[] = [];
    for (let from = 0; from < 8 * MIB; from += 128 * KIB) {
      await read(warm, from, 64 * KIB);
      requests.push(client.request({ command: READ, offset: from, length: 64 * KIB }));
    }
    client.send(...(how === 'in one piece' ? [Buffer.concat(requests)] : requests));
    await client.settle();
    expect(warm.lender?.lentCount).toBe(MIB / (4 * KIB));
    client.isSlow = false;
    await client.settle();
    expect([client.answers.length, warm.lender?.lentCount]).toEqual([64, 0]);
  },
);

test('a read that had to wait for room is counted once', async () => {
  const cold = makeExport({ sizeBytes: 8 * MIB, bufferBytes: 1 });
  const client = new TestClient({ parts: cold });
  for (let i = 0; i < 20; i++) {
    client.send(client.request({ command: READ, offset: i * 300_000, length: 200 * KIB }));
  }
  await client.settle();
  const { readHits, readMisses } = cold.target.statistics;
  expect([client.answers.length, readHits + readMisses]).toEqual([20, 20]);
});

test('so is one whose pages another read has brought meanwhile', async () => {
  const cold = makeExport({ bufferBytes: 1 });
  const client = new TestClient({ parts: cold });
  const request = { command: READ, length: 64 * KIB };
  const answers = await client.ask(request, request);
  for (const { data } of answers) expect(data?.equals(cold.disk.subarray(0, 64 * KIB))).toBe(true);
  expect(cold.storage.requests.read).toBe(1);
  expect(cold.target.statistics).toMatchObject({ readHits: 0, readMisses: 2 });
});

test('two slow clients and a third share the smallest pool that there is', async () => {
  const small = makeExport({ sizeBytes: 8 * MIB, bufferBytes: 1 });
  const slow = [1, 2].map(() => new TestClient({ parts: small, isSlow: true }));
  for (const client of slow) {
    for (let i = 0; i < 30; i++) {
      client.send(client.request({ command: READ, offset: i * 70_000, length: 256 * KIB }));
      client.send(client.request({ command: READ, offset: 6 * MIB + i * 9000, length: 9000 }));
    }
    await client.settle();
  }
  const third = new TestClient({ parts: small });
  const [long, short] = await third.ask(
    { command: READ, offset: 4 * MIB, length: 2 * MIB },
    { command: READ, offset: 7 * MIB, length: 5 },
  );
  expect([long?.errno, short?.errno]).toEqual([0, 0]);
  for (const client of slow) {
    client.isSlow = false;
    await client.settle();
    expect(client.answers.length).toBe(60);
  }
  expect(small.buffers.lentBytes).toBe(0);
});
