import { createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { replayLive } from '../../../src/replay/live/live.ts';
import { traceOf } from './recorded.ts';

const u16 = (value: number): Buffer => Buffer.from([value >>> 8, value & 255]);
const u32 = (value: number): Buffer => Buffer.concat([u16(value >>> 16), u16(value & 0xffff)]);
const join = (...parts: readonly Buffer[]): Buffer => Buffer.concat(parts);

const GREETING = join(Buffer.from('NBDMAGICIHAVEOPT'), u16(3));
const optionReply = (
  option: number,
  type: number,
  data: Buffer = Buffer.alloc(0),
  length = data.length,
) => join(u32(0x0003e889), u32(0x045565a9), u32(option), u32(type), u32(length), data);
const exportInfo = (sizeBytes: number, flags = 1): Buffer =>
  optionReply(
    7,
    3,
    join(u16(0), u32(Math.floor(sizeBytes / 2 ** 32)), u32(sizeBytes >>> 0), u16(flags)),
  );
const GO_ACK = optionReply(7, 1);
const STRUCTURED_ACK = optionReply(8, 1);
const AGREED = join(STRUCTURED_ACK, exportInfo(1 << 20), GO_ACK);

/** Chunk of a reply to the first request: cookie with generation 1, slot 0. */
const COOKIE = join(u32(1), u32(0));
const chunk = (flags: number, type: number, payload: Buffer, length = payload.length): Buffer =>
  join(u32(0x668e33ef), u16(flags), u16(type), COOKIE, u32(length), payload);
const simple = (errno: number, cookie = COOKIE): Buffer =>
  join(u32(0x67446698), u32(errno), cookie);
const at = (offset: number): Buffer => join(u32(0), u32(offset));

/** Replays one read of 4096 bytes at 8192 against a server that says just this. */
async function against(handshake: Buffer, replies: Buffer = Buffer.alloc(0), ends = false) {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.write(GREETING);
    let isAnswered = false;
    socket.on('data', (bytes: Buffer) => {
      if (!isAnswered) socket.write(handshake);
      isAnswered = true;
      // The request is the only thing with its magic in it.
      if (bytes.includes(u32(0x25609513))) socket[ends ? 'end' : 'write'](replies);
    });
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const port = await new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
  return replayLive(await traceOf([{ op: 'read', offset: 8192, length: 4096 }]), {
    target: { address: { kind: 'tcp', host: '127.0.0.1', port }, exportName: 'x' },
    ...{ connections: 1, depth: 4, speed: undefined, allowsWrites: false, wraps: false },
    signal: new AbortController().signal,
  });
}

test.each([
  [
    'an answer that is too long',
    optionReply(8, 1, Buffer.alloc(0), 1 << 20),
    /an answer of 1048576/,
  ],
  ['an answer to another option', optionReply(3, 1), /no answer to an option/],
  ['no magic', Buffer.alloc(20), /no answer to an option/],
  ['no size', join(STRUCTURED_ACK, GO_ACK), /without a size/],
  ['answers without end', join(STRUCTURED_ACK, ...Array(80).fill(exportInfo(1))), /too many/],
  ['a size beyond numbers', join(STRUCTURED_ACK, exportInfo(2 ** 60), GO_ACK), /2\^53/],
  [
    'block sizes of nonsense',
    join(
      STRUCTURED_ACK,
      exportInfo(1 << 20),
      optionReply(7, 3, join(u16(3), u32(3), u32(3), u32(3))),
      GO_ACK,
    ),
    /block sizes/,
  ],
  ['no such export', join(STRUCTURED_ACK, optionReply(7, 0x80000006)), /no export "x"/],
  ['TLS only', join(STRUCTURED_ACK, optionReply(7, 0x80000005)), /wants TLS/],
] as const)('a handshake with %s is refused', async (_, handshake, message) => {
  await expect(against(handshake)).rejects.toThrow(message);
});

test.each([
  ['no magic', Buffer.alloc(16), /magic/],
  ['a cookie never sent', simple(0, join(u32(1), u32(3))), /not asked/],
  ['a cookie beyond all slots', simple(0, join(u32(1), u32(0xffffffff))), /not asked/],
  ['data in the simple style', simple(0), /simple style/],
  ['more data than asked', chunk(1, 1, at(8192), 8 + 4097), /more data/],
  ['data before its range', chunk(1, 1, join(at(8191), Buffer.alloc(1))), /from where none/],
  ['data behind its range', chunk(1, 1, join(at(12_287), Buffer.alloc(2))), /from where none/],
  [
    'the same twice',
    join(
      chunk(0, 1, join(at(8192), Buffer.alloc(4096))),
      chunk(1, 1, join(at(8192), Buffer.alloc(1))),
    ),
    /from where none/,
  ],
  ['a hole of nothing', chunk(0, 2, join(at(8192), u32(0))), /from where none/],
  ['a hole that is too long', chunk(1, 2, join(at(8192), u32(5000))), /from where none/],
  ['too little', chunk(1, 1, join(at(8192), Buffer.alloc(100))), /answered with 100/],
  ['nothing at all', chunk(1, 0, Buffer.alloc(0)), /answered with 0/],
  ['an unknown chunk', chunk(1, 77, Buffer.alloc(4)), /type 77/],
  ['an endless text', chunk(1, 0x8001, Buffer.alloc(6), 1 << 20), /type 32769/],
  ['an error that is none', chunk(1, 0x8001, join(u32(0), u16(0))), /that is none/],
] as const)('a reply with %s ends the replay', async (_, reply, message) => {
  await expect(against(AGREED, reply)).rejects.toThrow(message);
});

test('a server that hangs up is said, with how far it was', async () => {
  await expect(against(AGREED, simple(0).subarray(0, 7), true)).rejects.toThrow(
    /hung up.*after 1 requests/,
  );
});

test('errors are counted: with their text, in either style', async () => {
  const text = chunk(1, 0x8001, join(u32(5), u16(3), Buffer.from('bad')));
  for (const reply of [text, simple(5)]) {
    const { errors, ops } = await against(AGREED, reply);
    expect([errors, ops.read.errors, ops.read.bytes]).toEqual([1, { EIO: 1 }, 0]);
  }
});

test('data in parts and holes, in any order, is an answer', async () => {
  const parts = join(
    chunk(0, 2, join(at(10_240), u32(2048))),
    chunk(1, 1, join(at(8192), Buffer.alloc(2048))),
  );
  expect((await against(AGREED, parts)).ops.read.bytes).toBe(4096);
});

test('a server without structured replies is asked without', async () => {
  const plain = join(optionReply(8, 0x80000001), exportInfo(1 << 20), GO_ACK);
  const { ops } = await against(plain, join(simple(0), Buffer.alloc(4096)));
  expect(ops.read.bytes).toBe(4096);
});
