import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { Command, Magic, NbdErrno, PAYLOAD_DRAIN_BYTES_MAX } from '../../../src/nbd/protocol.ts';
import { exportOn, KIB, makeMemory, noise } from '../../export/fixture.ts';
import { FaultyStorage } from '../../storage/faulty-storage.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { fc } from '../../tools/seed.ts';
import { cut, DISCONNECT, encodeRequest } from '../requests.ts';
import { CONTEXT_ID, TestClient } from './transmission-fixture.ts';

const SIZE = 600 * KIB + 123;
const memory = makeMemory({ bufferBytes: 1 });
const image = noise(SIZE);

function freshExport() {
  const disk = Buffer.from(image);
  const storage = new FaultyStorage(new MemoryStorage(disk));
  return { disk, storage, ...exportOn(storage, memory) };
}

const offset = fc.oneof(fc.nat({ max: SIZE }), fc.constantFrom(0, 4096, 8192, SIZE - 1));
const length = fc.oneof(
  { weight: 5, arbitrary: fc.nat({ max: 20_000 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1, 64 * KIB, 256 * KIB, 256 * KIB + 1, SIZE) },
);
const flags = fc.oneof(
  { weight: 4, arbitrary: fc.constant(0) },
  { weight: 2, arbitrary: fc.constantFrom(1, 2, 4, 8, 16) },
  { weight: 1, arbitrary: fc.nat({ max: 0xffff }) },
);
const plain = fc.record({
  command: fc.oneof(
    { weight: 5, arbitrary: fc.constant<number>(Command.READ) },
    { weight: 5, arbitrary: fc.constantFrom(3, 4, 5, 6, 7) },
    { weight: 1, arbitrary: fc.nat({ max: 0xffff }).filter((number) => number > 2) },
  ),
  flags,
  offset,
  length,
});
const write = fc
  .record({ flags, offset, bytes: fc.nat({ max: 30_000 }), seed: fc.integer({ min: 1, max: 9 }) })
  .map(({ bytes, seed, ...rest }) => ({
    ...rest,
    command: Command.WRITE,
    payload: noise(bytes, seed),
  }));

/** Requests, each with a cookie of its own. */
const stream = fc
  .tuple(
    fc.array(fc.oneof({ weight: 3, arbitrary: plain }, write), { maxLength: 30 }),
    fc.boolean(),
  )
  .map(([requests, saysGoodbye]) => {
    const parts = requests.map((each, i) => encodeRequest({ ...each, cookie: BigInt(i + 1) }));
    return Buffer.concat([...parts, ...(saysGoodbye ? [DISCONNECT] : [])]);
  });

/** The same with some of its bytes changed, where it hurts or anywhere. */
const mutated = fc
  .tuple(
    stream,
    fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 3 }),
    fc.array(fc.tuple(fc.nat({ max: 40 }), fc.nat({ max: 27 }), fc.nat({ max: 255 })), {
      maxLength: 2,
    }),
  )
  .map(([bytes, anywhere, inHeaders]) => {
    const copy = Buffer.from(bytes);
    const headers = understand(copy).map(({ at }) => at);
    for (const [position, value] of anywhere) {
      if (copy.length > 0) copy[position % copy.length] = value;
    }
    for (const [header, byte, value] of inHeaders) {
      const at = headers[header % headers.length];
      if (at !== undefined) copy[at + byte] = value;
    }
    return copy;
  });

interface Understood {
  readonly at: number;
  readonly cookie: bigint;
  readonly command: number;
  readonly flags: number;
  readonly offset: bigint;
  readonly length: number;
  /** The payload is all there. */
  readonly isWhole: boolean;
}

/** What a client that sends these bytes asks for, as the specification reads them. */
function understand(bytes: Buffer): Understood[] {
  const requests: Understood[] = [];
  for (let at = 0; at + 28 <= bytes.length; ) {
    if (bytes.readUInt32BE(at) !== Magic.REQUEST) break;
    const command = bytes.readUInt16BE(at + 6);
    if (command === Command.DISC) break;
    const length = bytes.readUInt32BE(at + 24);
    const payload = command === Command.WRITE ? length : 0;
    if (payload > PAYLOAD_DRAIN_BYTES_MAX) break;
    requests.push({
      at,
      cookie: bytes.readBigUInt64BE(at + 8),
      command,
      flags: bytes.readUInt16BE(at + 4),
      offset: bytes.readBigUInt64BE(at + 16),
      length,
      isWhole: at + 28 + payload <= bytes.length,
    });
    at += 28 + payload;
  }
  return requests;
}

interface Outcome {
  readonly failure: string | undefined;
  readonly finishCount: number;
  readonly answers: readonly { cookie: bigint; errno: number; bytes: number | undefined }[];
  /** A hash of what is on the disk in the end. */
  readonly disk: string;
}

/** Sends the pieces and hangs up behind them; checks all that holds for every stream. */
async function converse(pieces: readonly Buffer[], isStructured: boolean): Promise<Outcome> {
  const parts = freshExport();
  const client = new TestClient({
    parts,
    isStructured,
    contextIds: isStructured ? [CONTEXT_ID] : [],
  });
  const requests = understand(Buffer.concat(pieces));
  for (const { cookie, ...request } of requests) client.know(cookie, request);
  client.send(...pieces.map((piece) => Buffer.from(piece)));
  await client.settle();
  client.leave();
  await client.settle();
  expect(client.isPaused).toBe(false);
  if (client.failure === undefined) {
    expect(client.finishCount).toBe(1);
    expect(client.parser.isWhole).toBe(true);
    const answered = new Set(client.answers.map(({ cookie }) => cookie));
    for (const { cookie, isWhole } of requests) if (isWhole) expect(answered).toContain(cookie);
  }
  await client.close();
  expect(memory.buffers.lentBytes).toBe(0);
  expect(memory.lender?.lentCount).toBe(0);
  expect(client.answers.every(({ errno }) => errno !== NbdErrno.EIO)).toBe(true);
  parts.cache.pool.destroy();
  const disk = createHash('sha1').update(parts.disk).digest('hex');
  const answers = client.answers
    .map(({ cookie, errno, data }) => ({ cookie, errno, bytes: data?.length }))
    .sort((a, b) => (a.cookie < b.cookie ? -1 : 1));
  return { failure: client.failure, finishCount: client.finishCount, answers, disk };
}

describe.each([true, false])('a stream of requests, structured: %s', (isStructured) => {
  test.each([
    ['as it should be', stream, 100],
    ['with wrong bytes in it', mutated, 200],
  ])('%s, has the same outcome in whatever pieces it comes', async (_, bytesOf, numRuns) => {
    await fc.assert(
      fc.asyncProperty(
        bytesOf,
        fc.array(fc.integer({ min: 1, max: 5000 }), { maxLength: 50 }),
        async (bytes, lengths) => {
          const cookies = understand(bytes).map(({ cookie }) => cookie);
          fc.pre(new Set(cookies).size === cookies.length);
          const atOnce = await converse([bytes], isStructured);
          expect(await converse(cut(bytes, lengths), isStructured)).toEqual(atOnce);
          const headers = Array.from({ length: Math.min(bytes.length, 2000) }, () => 1);
          expect(await converse(cut(bytes, headers), isStructured)).toEqual(atOnce);
        },
      ),
      { numRuns },
    );
  });
});

test('what is no protocol at all ends in one violation or in nothing', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
      const { failure, answers } = await converse([Buffer.from(bytes)], true);
      expect(answers).toEqual([]);
      expect(failure !== undefined).toBe(bytes.length >= 28);
    }),
  );
});
