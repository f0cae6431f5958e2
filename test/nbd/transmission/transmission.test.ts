import { describe, expect, test } from 'vitest';
import { Chunk, Command, CommandFlag, NbdErrno } from '../../../src/nbd/protocol.ts';
import { KIB, MIB, makeExport, noise } from '../../export/fixture.ts';
import { cut } from '../requests.ts';
import { TestClient } from './transmission-fixture.ts';

const PAGE = 4 * KIB;
const { READ, WRITE, TRIM, WRITE_ZEROES } = Command;
const { FUA, DF } = CommandFlag;

describe.each([
  [true, 'structured'],
  [false, 'simple'],
])('reads with replies that are structured: %s (%s)', (isStructured) => {
  test.each([
    [0, PAGE],
    [1, 1],
    [PAGE - 1, 2],
    [12_345, 6789],
    [0, 6 * PAGE + 1],
    [100 * KIB, 32 * KIB],
    [64 * KIB + 5, 256 * KIB - 5],
    [MIB - 256 * KIB, 256 * KIB],
  ])('give the bytes at %d, %d of them, missing first, then cached', async (offset, length) => {
    const client = new TestClient({ isStructured });
    for (let round = 0; round < 3; round++) {
      const [answer] = await client.ask({ command: READ, offset, length });
      expect(answer?.data?.equals(client.parts.disk.subarray(offset, offset + length))).toBe(true);
    }
    expect(client.parts.buffers.lentBytes).toBe(0);
    expect(client.parts.lender?.lentCount).toBe(0);
  });

  test('of nothing succeed', async () => {
    const client = new TestClient({ isStructured });
    const answers = await client.ask(
      { command: READ, offset: 5 },
      { command: READ, offset: MIB },
      ...(isStructured ? [{ command: READ, flags: DF }] : []),
    );
    expect(answers.every(({ errno, data }) => errno === 0 && data?.length === 0)).toBe(true);
  });

  test('that fail on the disk are errors, and no more than that', async () => {
    const client = new TestClient({ isStructured });
    // Where the error is going to lie the data of another reply did.
    await client.ask({ command: READ, offset: 200 * PAGE, length: 2 * PAGE });
    client.parts.storage.failNext('read');
    const [failed, good] = await client.ask(
      { command: READ, length: PAGE },
      { command: READ, offset: 100 * PAGE, length: PAGE },
    );
    expect([failed?.errno, good?.errno]).toEqual([NbdErrno.EIO, 0]);
    expect(client.parts.buffers.lentBytes).toBe(0);
  });
});

test('zeros that are cached are a hole', async () => {
  const client = new TestClient({ parts: makeExport({ hotFraction: 0 }) });
  await client.ask({ command: WRITE_ZEROES, length: 8 * PAGE });
  const [whole, part] = await client.ask(
    { command: READ, length: 4 * PAGE },
    { command: READ, offset: 7 * PAGE, length: 2 * PAGE },
  );
  expect(whole?.chunks).toEqual([Chunk.OFFSET_HOLE]);
  expect(part?.chunks).toEqual([Chunk.OFFSET_DATA]);
  expect(part?.data?.equals(client.parts.disk.subarray(7 * PAGE, 9 * PAGE))).toBe(true);
});

test('with FUA the reply waits for stable storage, without it it does not', async () => {
  const client = new TestClient();
  const hold = client.parts.storage.holdNext('sync');
  const payload = noise(PAGE, 3);
  client.send(
    client.request({ command: WRITE, payload }),
    client.request({ command: WRITE, flags: FUA, offset: PAGE, payload }),
    client.request({ command: TRIM, flags: FUA, offset: 8 * PAGE, length: PAGE }),
  );
  await client.settle();
  expect(client.answers.length).toBe(1);
  hold.release();
  await client.settle();
  expect(client.answers.length).toBe(3);
});

test('a read that is asked for behind a write reply sees the write, on another connection too', async () => {
  const client = new TestClient();
  const other = new TestClient({ parts: client.parts });
  for (let seed = 1; seed < 20; seed++) {
    const payload = noise(2 * PAGE, seed);
    await client.ask({ command: WRITE, offset: 100, payload });
    const [answer] = await other.ask({ command: READ, offset: 100, length: payload.length });
    expect(answer?.data?.equals(payload)).toBe(true);
  }
});

test('many requests in one piece are all answered, hits at once and in one write', async () => {
  const client = new TestClient();
  await client.ask({ command: READ, length: 256 * KIB });
  const requests = Array.from({ length: 40 }, (_, i) => ({
    command: READ,
    offset: i * PAGE,
    length: PAGE,
  }));
  client.send(Buffer.concat(requests.map((each) => client.request(each))));
  expect(client.readSome(1)).toBe(1);
  expect(client.answers.length).toBe(41);
  expect(client.readSome(1)).toBe(0);
});

test('requests are the same wherever the stream is cut', async () => {
  for (let at = 1; at < 28 * 3 + 600; at += 7) {
    const client = new TestClient();
    const payload = noise(600, 4);
    const bytes = Buffer.concat([
      client.request({ command: READ, offset: 9, length: 1000 }),
      client.request({ command: WRITE, offset: 5000, payload }),
      client.request({ command: READ, offset: 5000, length: 600 }),
    ]);
    client.send(...cut(bytes, [at]));
    await client.settle();
    expect(client.answers.map(({ errno }) => errno)).toEqual([0, 0, 0]);
    expect(client.parts.disk.subarray(5000, 5600).equals(payload)).toBe(true);
  }
});

test('bytes that are no request end the connection, and nothing behind them is looked at', async () => {
  const client = new TestClient();
  const before = Buffer.from(client.parts.disk);
  client.send(
    Buffer.concat([
      client.request({ command: READ, length: 10 }),
      Buffer.alloc(28, 7),
      client.request({ command: WRITE, payload: noise(PAGE, 2) }),
    ]),
  );
  client.transmission.resume();
  client.send(client.request({ command: WRITE, payload: noise(PAGE, 2) }));
  await client.settle();
  expect(client.failure).toMatch('magic');
  expect(client.parts.disk.equals(before)).toBe(true);
  expect(client.parts.buffers.lentBytes).toBe(0);
});
