import { describe, expect, test } from 'vitest';
import { Command, CommandFlag, NbdErrno } from '../../../src/nbd/protocol.ts';
import { KIB, MIB, makeExport, noise } from '../../export/fixture.ts';
import { fc } from '../../tools/seed.ts';
import { cut, encodeRequest } from '../requests.ts';
import { TestClient } from './transmission-fixture.ts';

const { READ, WRITE } = Command;

test('a payload is the same in whatever pieces it comes', async () => {
  const parts = makeExport({ sizeBytes: 2 * MIB });
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: MIB }),
      fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 1, max: MIB })),
      fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 1, max: 1000 }),
      async (offset, length, lengths, seed) => {
        const client = new TestClient({ parts });
        const payload = noise(length, seed);
        client.send(...cut(client.request({ command: WRITE, offset, payload }), lengths));
        await client.settle();
        expect(client.answers.map(({ errno }) => errno)).toEqual([0]);
        expect(parts.disk.subarray(offset, offset + length).equals(payload)).toBe(true);
        const [answer] = await client.ask({ command: READ, offset, length });
        expect(answer?.data?.equals(payload)).toBe(true);
        expect(parts.buffers.lentBytes).toBe(0);
      },
    ),
    { numRuns: 60 },
  );
});

test('a payload byte by byte is a payload', async () => {
  const client = new TestClient();
  const payload = noise(10_000, 8);
  const bytes = client.request({ command: WRITE, offset: 4000, payload });
  client.send(...Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)));
  await client.settle();
  expect(client.answers.map(({ errno }) => errno)).toEqual([0]);
  expect(client.parts.disk.subarray(4000, 14_000).equals(payload)).toBe(true);
});

test.each([1, 24 * KIB + 1, 256 * KIB + 1])(
  'a payload of %d bytes is written and answered when its last byte is there, not before',
  async (length) => {
    const client = new TestClient();
    const payload = noise(length, 6);
    const bytes = client.request({ command: WRITE, offset: 8 * KIB, payload });
    client.send(bytes.subarray(0, -1));
    await client.settle();
    expect(client.answers).toEqual([]);
    client.send(bytes.subarray(-1));
    await client.settle();
    expect(client.answers.map(({ errno }) => errno)).toEqual([0]);
    expect(client.parts.disk.subarray(8 * KIB, 8 * KIB + length).equals(payload)).toBe(true);
    expect(client.parts.buffers.lentBytes).toBe(0);
  },
);

test('the longest payload is 32 MiB, through few buffers', async () => {
  const parts = makeExport({ sizeBytes: 33 * MIB, bufferBytes: 1 });
  const client = new TestClient({ parts });
  const payload = noise(32 * MIB, 2);
  let lentMax = 0;
  parts.storage.onWrite = () => {
    lentMax = Math.max(lentMax, parts.buffers.lentBytes);
  };
  const bytes = client.request({ command: WRITE, flags: CommandFlag.FUA, offset: 77, payload });
  client.send(
    ...cut(
      bytes,
      Array.from({ length: 511 }, () => 64 * KIB),
    ),
  );
  await client.settle();
  expect(client.answers.map(({ errno }) => errno)).toEqual([0]);
  expect(parts.disk.subarray(77, 77 + 32 * MIB).equals(payload)).toBe(true);
  expect(lentMax).toBeLessThanOrEqual(5 * 300 * KIB);
  expect(parts.storage.requests.sync).toBe(1);
});

describe('a payload that is refused', () => {
  test.each([
    ['beyond the end', MIB - 5, 10, NbdErrno.ENOSPC],
    ['of one byte', MIB, 1, NbdErrno.ENOSPC],
    ['over 32 MiB', 0, 32 * MIB + 1, NbdErrno.EINVAL],
  ])('is drained: %s', async (_, offset, length, errno) => {
    const parts = makeExport({ sizeBytes: length > MIB ? 34 * MIB : MIB });
    const client = new TestClient({ parts });
    const payload = Buffer.alloc(length, 0x25); // looks a little like requests
    const bytes = Buffer.concat([
      client.request({ command: WRITE, offset, payload }),
      client.request({ command: READ, length: 9 }),
    ]);
    client.send(...cut(bytes, [20, 100_000, 1, 1_000_000]));
    await client.settle();
    expect(client.answers.map((answer) => answer.errno)).toEqual([errno, 0]);
    expect(parts.storage.requests.write).toBe(0);
  });

  test('is answered when all of it has come', async () => {
    const client = new TestClient();
    const bytes = client.request({ command: WRITE, offset: MIB, payload: noise(1000, 3) });
    client.send(bytes.subarray(0, 500));
    await client.settle();
    expect(client.answers).toEqual([]);
    client.send(bytes.subarray(500));
    await client.settle();
    expect(client.answers.map(({ errno }) => errno)).toEqual([NbdErrno.ENOSPC]);
  });

  test('and is longer than 128 MiB ends the connection', async () => {
    const client = new TestClient();
    client.send(
      Buffer.concat([
        encodeRequest({ command: WRITE, cookie: 1n, length: 128 * MIB + 1 }),
        client.request({ command: WRITE, payload: noise(4096, 3) }),
      ]),
    );
    await client.settle();
    expect(client.failure).toMatch('134217729');
    expect(client.answers).toEqual([]);
    expect(client.parts.storage.requests.write).toBe(0);
  });
});

test('a piece that fails fails the write, once, when all of its payload has come', async () => {
  const client = new TestClient({ parts: makeExport({ sizeBytes: 4 * MIB }) });
  client.parts.storage.failNext('write', 'ENOSPC', 2);
  const bytes = client.request({ command: WRITE, payload: noise(3 * MIB, 3) });
  client.send(bytes.subarray(0, 2 * MIB));
  await client.settle();
  expect(client.answers).toEqual([]);
  client.send(bytes.subarray(2 * MIB), client.request({ command: READ, length: 1 }));
  await client.settle();
  expect(client.answers.map(({ errno }) => errno)).toEqual([NbdErrno.ENOSPC, 0]);
  expect(client.parts.buffers.lentBytes).toBe(0);
});

test('a write is answered when the last of its pieces is on the disk, in whatever order they end', async () => {
  const client = new TestClient({ parts: makeExport({ sizeBytes: 4 * MIB }) });
  const { storage, disk } = client.parts;
  const hold = storage.holdNext('write');
  const payload = noise(MIB, 5);
  client.send(client.request({ command: WRITE, payload }));
  await client.settle();
  expect([client.answers, storage.requests.write]).toEqual([[], 4]);
  hold.release();
  await client.settle();
  expect(client.answers.map(({ errno }) => errno)).toEqual([0]);
  expect(disk.subarray(0, MIB).equals(payload)).toBe(true);
});

test('a payload waits for a slow disk with four pieces under way', async () => {
  const client = new TestClient({ parts: makeExport({ sizeBytes: 4 * MIB }) });
  const { storage } = client.parts;
  const held: (() => void)[] = [];
  storage.onWrite = () => new Promise((resolve) => held.push(resolve));
  client.send(client.request({ command: WRITE, payload: noise(3 * MIB, 5) }));
  await client.settle();
  expect([held.length, client.isPaused]).toEqual([4, true]);
  while (held.length > 0) {
    for (const release of held.splice(0)) release();
    await client.settle();
  }
  expect(client.answers.map(({ errno }) => errno)).toEqual([0]);
});

test('a payload waits where no buffer is free, and goes on when one is', async () => {
  const parts = makeExport({ bufferBytes: 1 });
  const client = new TestClient({ parts });
  const taken = [1, 2, 3, 4].map(() => parts.buffers.take(MIB / 4));
  const payload = noise(600 * KIB, 5);
  client.send(client.request({ command: WRITE, payload }));
  await client.settle();
  expect(client.isPaused).toBe(true);
  client.transmission.resume(); // something else made room
  for (const piece of taken) if (piece !== undefined) parts.buffers.release(piece);
  await client.settle();
  expect(client.answers.map(({ errno }) => errno)).toEqual([0]);
  expect(parts.disk.subarray(0, payload.length).equals(payload)).toBe(true);
  expect(parts.buffers.lentBytes).toBe(0);
});

test('a header alone holds no buffer', async () => {
  const client = new TestClient();
  client.send(client.request({ command: WRITE, payload: noise(MIB, 1) }).subarray(0, 28));
  await client.settle();
  expect(client.parts.buffers.lentBytes).toBe(0);
});

test('a client that goes while its write waits for a buffer leaves none behind', async () => {
  const parts = makeExport({ bufferBytes: 1 });
  const client = new TestClient({ parts });
  const taken = [1, 2, 3, 4].map(() => parts.buffers.take(MIB / 4));
  client.send(client.request({ command: WRITE, payload: noise(600 * KIB, 5) }));
  await client.settle();
  await client.close();
  for (const piece of taken) if (piece !== undefined) parts.buffers.release(piece);
  await client.settle();
  expect(parts.buffers.lentBytes).toBe(0);
  expect(parts.storage.requests.write).toBe(0);
});
