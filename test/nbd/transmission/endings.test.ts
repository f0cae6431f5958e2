import { describe, expect, test } from 'vitest';
import { Command, NbdErrno } from '../../../src/nbd/protocol.ts';
import { KIB, MIB, makeExport, noise, read } from '../../export/fixture.ts';
import { DISCONNECT } from '../requests.ts';
import { TestClient } from './transmission-fixture.ts';

const PAGE = 4 * KIB;
const { READ, WRITE, CACHE } = Command;
const { EINVAL } = NbdErrno;

describe('an end', () => {
  test('by DISC comes when all before it is answered, once, and what is behind it is ignored', async () => {
    const client = new TestClient();
    const hold = client.parts.storage.holdNext('read');
    client.send(
      Buffer.concat([
        client.request({ command: READ, length: 10 }),
        DISCONNECT,
        client.request({ command: WRITE, payload: noise(PAGE, 2) }),
      ]),
    );
    client.send(Buffer.alloc(100));
    await client.settle();
    expect(client.finishCount).toBe(0);
    hold.release();
    await client.settle();
    expect([client.answers.length, client.finishCount]).toEqual([1, 1]);
    client.send(client.request({ command: READ, length: 10 }));
    client.leave();
    await client.settle();
    expect([client.answers.length, client.finishCount]).toEqual([1, 1]);
    expect(client.parts.storage.requests.write).toBe(0);
    const counted: unknown[] = [];
    client.statistics.requestsOf('disk').forEach((...each) => {
      counted.push(each);
    });
    expect(counted).toEqual([
      ['read', 0, 1],
      ['disconnect', 0, 1],
    ]);
  });

  test('of the client while its requests wait for room leaves it all its answers', async () => {
    const client = new TestClient({ isSlow: true });
    const all = Array.from({ length: 300 }, (_, i) =>
      client.request({ command: READ, offset: (i % 4) * 256 * KIB, length: 256 * KIB }),
    );
    client.send(Buffer.concat(all));
    await client.settle();
    expect(client.isPaused).toBe(true);
    client.leave();
    await client.settle();
    expect(client.finishCount).toBe(0);
    client.isSlow = false;
    await client.settle();
    expect([client.answers.length, client.finishCount]).toEqual([300, 1]);
    expect(client.answers.every(({ errno }) => errno === 0)).toBe(true);
  });

  test('in the middle of a payload is an error of that write', async () => {
    const client = new TestClient();
    const bytes = client.request({ command: WRITE, payload: noise(2 * MIB, 3), length: MIB });
    client.send(bytes.subarray(0, MIB - 5));
    client.leave();
    await client.settle();
    expect(client.answers.map(({ errno }) => errno)).toEqual([EINVAL]);
    expect(client.finishCount).toBe(1);
    expect(client.parts.buffers.lentBytes).toBe(0);
  });

  test('in the middle of a payload of which nothing is under way is one too', async () => {
    const client = new TestClient();
    const bytes = client.request({ command: WRITE, payload: noise(PAGE, 3) });
    client.send(bytes.subarray(0, 100));
    await client.settle();
    client.leave();
    await client.settle();
    expect(client.answers.map(({ errno }) => errno)).toEqual([EINVAL]);
    expect([client.finishCount, client.parts.buffers.lentBytes]).toEqual([1, 0]);
  });

  test('in the middle of a header is no request', async () => {
    const client = new TestClient();
    client.send(client.request({ command: READ, length: 5 }).subarray(0, 27));
    client.leave();
    await client.settle();
    expect([client.answers.length, client.finishCount]).toEqual([0, 1]);
  });

  test('for a rule that was broken comes behind the answers to what was asked before', async () => {
    const client = new TestClient();
    await client.ask({ command: READ, length: PAGE });
    client.send(
      Buffer.concat([client.request({ command: READ, length: PAGE }), Buffer.alloc(28, 0x99)]),
    );
    expect(client.failure).toMatch('magic');
    expect(client.answers.map(({ errno }) => errno)).toEqual([0, 0]);
  });

  test('by force gives back what a reply holds that was not sent yet', async () => {
    const client = new TestClient();
    const { buffers, storage } = client.parts;
    const hold = storage.holdNext('read');
    client.send(client.request({ command: READ, length: 100 * KIB }));
    await hold.arrived;
    hold.release();
    while (client.transmission.waitingCount > 0) await Promise.resolve();
    expect([client.bytesInFlight, buffers.lentBytes > 0]).toEqual([0, true]);
    client.transmission.close();
    expect(buffers.lentBytes).toBe(0);
  });

  test('by force of a client whose read waits for a buffer has nothing read for it', async () => {
    const parts = makeExport({ bufferBytes: 1 });
    const client = new TestClient({ parts });
    const taken = [1, 2, 3, 4].map(() => parts.buffers.take(MIB / 4));
    client.send(client.request({ command: READ, length: 100 * KIB }));
    await client.settle();
    await client.close();
    for (const piece of taken) if (piece !== undefined) parts.buffers.release(piece);
    await client.settle();
    expect([parts.storage.requests.read, parts.buffers.lentBytes]).toEqual([0, 0]);
  });

  test.each(['nothing', 'all'])(
    'by force ends a long read of which chunks are to come, with %s cached',
    async (cached) => {
      const parts = makeExport({ sizeBytes: 8 * MIB });
      for (let at = 0; cached === 'all' && at < 8 * MIB; at += 256 * KIB) {
        await read(parts, at, 256 * KIB);
      }
      const client = new TestClient({ parts, isSlow: true });
      client.send(client.request({ command: READ, length: 8 * MIB }));
      await client.settle();
      expect(client.transmission.waitingCount).toBe(1);
      await client.close();
      expect([client.transmission.waitingCount, parts.buffers.lentBytes]).toEqual([0, 0]);
    },
  );

  test('of the server finishes what is under way and leaves the rest unanswered', async () => {
    const client = new TestClient();
    const hold = client.parts.storage.holdNext('read');
    const payload = noise(2 * PAGE, 6);
    const write = client.request({ command: WRITE, offset: 8 * PAGE, payload });
    client.send(client.request({ command: READ, length: PAGE }), write.subarray(0, 50));
    client.transmission.shutDown();
    client.send(
      write.subarray(50),
      client.request({ command: READ, length: PAGE }),
      client.request({ command: WRITE, payload }),
    );
    await client.settle();
    expect(client.finishCount).toBe(0);
    hold.release();
    await client.settle();
    expect(client.answers.map(({ errno }) => errno)).toEqual([0, 0]);
    expect(client.finishCount).toBe(1);
    expect(client.parts.disk.subarray(8 * PAGE, 10 * PAGE).equals(payload)).toBe(true);
  });

  test('of the server does not wait for all that is to be brought into memory', async () => {
    const client = new TestClient({ parts: makeExport({ sizeBytes: 16 * MIB }) });
    const { storage } = client.parts;
    const hold = storage.holdNext('read');
    client.send(client.request({ command: CACHE, length: 16 * MIB }));
    await hold.arrived;
    client.transmission.shutDown();
    hold.release();
    await client.settle();
    expect([client.answers.length, client.finishCount, storage.requests.read]).toEqual([1, 1, 1]);
  });

  test('of the server comes at once where nothing is under way', () => {
    const client = new TestClient();
    client.transmission.shutDown();
    expect(client.finishCount).toBe(1);
  });
});
