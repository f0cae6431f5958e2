import { describe, expect, test } from 'vitest';
import { Command, CommandFlag, NbdErrno } from '../../../src/nbd/protocol.ts';
import { KIB, MIB, noise } from '../../export/fixture.ts';
import { makeWriteBack } from '../../export/writes/write-back-fixture.ts';
import { cut } from '../requests.ts';
import { TestClient } from './transmission-fixture.ts';

const PAGE = 4 * KIB;
const { READ, WRITE, FLUSH, TRIM, WRITE_ZEROES } = Command;
/** Nothing is written before somebody asks for it. */
const LAZY = { ageMsMax: Number.POSITIVE_INFINITY, highFraction: 2 };

function makeClient(options: Parameters<typeof makeWriteBack>[0] = {}) {
  const parts = makeWriteBack({ tuning: LAZY, ...options });
  return { parts, client: new TestClient({ parts }) };
}

/** Writes of one page each, every other page. */
const writes = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    command: WRITE,
    offset: 2 * i * PAGE,
    payload: noise(PAGE, i + 1),
  }));

describe('writes that come together', () => {
  test('are answered in the turn in which they come, in order, without the disk', () => {
    const { parts, client } = makeClient();
    client.send(Buffer.concat(writes(32).map((each) => client.request(each))));
    client.readSome(100); // no turn of the event loop has passed
    expect(client.answers.map(({ errno }) => errno)).toEqual(Array(32).fill(0));
    const first = client.answers[0]?.cookie ?? 0n;
    expect(client.answers.every(({ cookie }, i) => cookie === first + BigInt(i))).toBe(true);
    expect([parts.storage.requests.write, parts.table.count]).toEqual([0, 32]);
  });

  test('and a read behind them sees the new bytes', async () => {
    const { client } = makeClient();
    const payload = noise(3 * PAGE, 9);
    const [, read] = await client.ask(
      { command: WRITE, offset: PAGE, payload },
      { command: READ, offset: PAGE, length: payload.length },
    );
    expect(read?.data?.equals(payload)).toBe(true);
  });

  test('are the same in whatever pieces they come', async () => {
    for (const lengths of [[1], [27, 1], [28, 4096, 7], [5000], [28 + 4095], [100_000]]) {
      const { parts, client } = makeClient();
      const bytes = Buffer.concat(writes(12).map((each) => client.request(each)));
      const pieces: Buffer[] =
        lengths[0] === 1
          ? cut(
              bytes,
              Array.from({ length: 400 }, () => 1),
            )
          : cut(
              bytes,
              Array.from({ length: 40 }, (_, i) => lengths[i % lengths.length] ?? 1),
            );
      client.send(...pieces);
      await client.settle();
      expect(client.answers.map(({ errno }) => errno)).toEqual(Array(12).fill(0));
      await parts.target.sync();
      for (const { offset, payload } of writes(12)) {
        expect(parts.disk.subarray(offset, offset + PAGE).equals(payload)).toBe(true);
      }
      expect(parts.buffers.lentBytes).toBe(0);
    }
  });
});

describe('what is promised to be stable', () => {
  test('a FLUSH is answered when everything before it is on the disk, and synced', async () => {
    const { parts, client } = makeClient();
    await client.ask(...writes(8));
    expect(parts.storage.requests.sync).toBe(0);
    const hold = parts.storage.holdNext('sync');
    client.send(client.request({ command: FLUSH }));
    await hold.arrived;
    await client.settle();
    expect([client.answers.length, parts.table.count]).toEqual([8, 0]);
    hold.release();
    await client.settle();
    expect(client.answers.at(-1)?.errno).toBe(0);
  });

  test('so is a WRITE with FUA, and with it what another connection wrote', async () => {
    const { parts, client } = makeClient();
    const other = new TestClient({ parts });
    await other.ask({ command: WRITE, payload: noise(PAGE, 3) });
    const hold = parts.storage.holdNext('sync');
    const payload = noise(PAGE, 4);
    client.send(
      client.request({ command: WRITE, flags: CommandFlag.FUA, offset: MIB / 2, payload }),
    );
    await hold.arrived;
    await client.settle();
    expect(client.answers).toEqual([]);
    hold.release();
    await client.settle();
    expect(client.answers.map(({ errno }) => errno)).toEqual([0]);
    expect(parts.disk.subarray(0, PAGE).equals(noise(PAGE, 3))).toBe(true);
    expect(parts.disk.subarray(MIB / 2, MIB / 2 + PAGE).equals(payload)).toBe(true);
  });

  test.each([
    ['WRITE_ZEROES', { command: WRITE_ZEROES, length: 4 * PAGE }],
    ['TRIM', { command: TRIM, length: 4 * PAGE }],
  ])('so is a %s with FUA', async (_, request) => {
    const { parts, client } = makeClient();
    await client.ask(...writes(8));
    const [answer] = await client.ask({ ...request, flags: CommandFlag.FUA });
    expect(answer?.errno).toBe(0);
    expect([parts.table.count, parts.storage.requests.sync]).toEqual([0, 1]);
  });

  test('a FLUSH after a write that failed says why, and the next one may go well', async () => {
    const { parts, client } = makeClient();
    await client.ask(...writes(2));
    parts.storage.failNext('write', 'ENOSPC');
    const answers = await client.ask({ command: FLUSH });
    answers.push(...(await client.ask({ command: FLUSH })));
    expect(answers.map(({ errno }) => errno)).toEqual([NbdErrno.ENOSPC, 0]);
  });
});

describe('a write that memory refuses', () => {
  test('is answered from the disk, behind those that need not wait', async () => {
    let isFull = false;
    const { parts, client } = makeClient({ mayAllocate: () => !isFull });
    await client.ask({ command: WRITE, payload: noise(PAGE, 1) });
    isFull = true;
    const hold = parts.storage.holdNext('write');
    client.send(
      client.request({ command: WRITE, offset: 8 * PAGE, payload: noise(PAGE, 2) }),
      client.request({ command: WRITE, payload: noise(PAGE, 3) }), // overwrites what is there
    );
    await hold.arrived;
    await client.settle();
    expect(client.answers.length).toBe(2);
    hold.release();
    await client.settle();
    expect(client.answers.map(({ errno }) => errno)).toEqual([0, 0, 0]);
    expect(parts.disk.subarray(8 * PAGE, 9 * PAGE).equals(noise(PAGE, 2))).toBe(true);
    expect(parts.buffers.lentBytes).toBe(0);
  });

  test('and the disk too is answered with the error of the disk', async () => {
    const { parts, client } = makeClient({ mayAllocate: () => false });
    parts.storage.failNext('write', 'ENOSPC');
    const answers = await client.ask({ command: WRITE, payload: noise(PAGE, 2) });
    answers.push(...(await client.ask({ command: READ, length: PAGE })));
    expect(answers.map(({ errno }) => errno)).toEqual([NbdErrno.ENOSPC, 0]);
    expect(answers[1]?.data?.equals(noise(MIB).subarray(0, PAGE))).toBe(true);
  });
});

test('a client that goes while its write waits for room leaves nothing behind', async () => {
  const { parts, client } = makeClient({ limitPages: 1 });
  await client.ask({ command: WRITE, payload: noise(PAGE, 1) });
  const hold = parts.storage.holdNext('write');
  client.send(client.request({ command: WRITE, offset: 4 * PAGE, payload: noise(PAGE, 2) }));
  await hold.arrived;
  await client.close();
  hold.release();
  await client.settle();
  expect([parts.buffers.lentBytes, parts.writerBuffers.lentBytes]).toEqual([0, 0]);
  expect(parts.target.tryWrite(4 * PAGE, PAGE, noise(PAGE, 5), 0)).toBe(true);
});
