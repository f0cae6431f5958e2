import { describe, expect, test } from 'vitest';
import { TmemError } from '../../../src/lib/errors.ts';
import { Command, CommandFlag, NbdErrno, TransmissionFlag } from '../../../src/nbd/protocol.ts';
import { KIB, MIB, makeExport, noise } from '../../export/fixture.ts';
import { ALL_FLAGS, READ_ONLY_FLAGS, TestClient } from './transmission-fixture.ts';

const PAGE = 4 * KIB;
const { READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS } = Command;
const { FUA, NO_HOLE, REQ_ONE, FAST_ZERO, DF } = CommandFlag;
const { EINVAL, ENOSPC, EPERM, EOVERFLOW } = NbdErrno;

test('zeroes may become a hole unless the client wants none', async () => {
  const client = new TestClient();
  const { storage } = client.parts;
  const writeZeroes = storage.writeZeroes.bind(storage);
  const asked: boolean[] = [];
  storage.writeZeroes = (offset, length, mayDiscard, mustBeFast) => {
    asked.push(mayDiscard);
    return writeZeroes(offset, length, mayDiscard, mustBeFast);
  };
  const request = { command: WRITE_ZEROES, length: PAGE };
  await client.ask(request);
  await client.ask({ ...request, flags: NO_HOLE });
  expect(asked).toEqual([true, false]);
});

describe('a command', () => {
  test.each([TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS])(
    'without a payload may be about more than a payload may have: %d',
    async (command) => {
      const sizeBytes = 33 * MIB;
      const client = new TestClient({ parts: makeExport({ sizeBytes }) });
      const [answer] = await client.ask({ command, length: sizeBytes });
      expect(answer?.errno).toBe(0);
    },
  );

  test.each([
    ['WRITE', { command: WRITE, offset: 700, payload: noise(3 * PAGE, 9) }],
    ['WRITE with FUA', { command: WRITE, flags: FUA, offset: PAGE, payload: noise(PAGE, 9) }],
    ['WRITE of nothing', { command: WRITE, flags: FUA, offset: MIB }],
    ['FLUSH', { command: FLUSH }],
    ['FLUSH with FUA', { command: FLUSH, flags: FUA }],
    ['TRIM', { command: TRIM, flags: FUA, offset: 5, length: 9 * PAGE }],
    ['TRIM of nothing', { command: TRIM }],
    ['CACHE', { command: CACHE, length: MIB }],
    ['WRITE_ZEROES', { command: WRITE_ZEROES, flags: FUA | NO_HOLE, offset: 7, length: 9000 }],
    ['WRITE_ZEROES, fast', { command: WRITE_ZEROES, flags: FAST_ZERO, length: MIB }],
    ['READ with FUA', { command: READ, flags: FUA, length: 1 }],
    ['READ with DF', { command: READ, flags: DF, offset: 3, length: 256 * KIB }],
    ['BLOCK_STATUS', { command: BLOCK_STATUS, offset: 3, length: MIB - 3 }],
    ['BLOCK_STATUS for one', { command: BLOCK_STATUS, flags: REQ_ONE | FUA, length: 1 }],
  ])('succeeds: %s', async (_, request) => {
    const client = new TestClient();
    const [answer] = await client.ask(request);
    expect(answer?.errno).toBe(0);
    expect(client.parser.isWhole).toBe(true);
    expect(client.parts.buffers.lentBytes).toBe(0);
  });

  test.each([
    ['with a flag of another command', EINVAL, { command: READ, flags: NO_HOLE, length: 1 }],
    ['with an unknown flag', EINVAL, { command: FLUSH, flags: 1 << 9 }],
    ['WRITE of nothing with one', EINVAL, { command: WRITE, flags: REQ_ONE }],
    ['with DF where nothing is sent', EINVAL, { command: CACHE, flags: DF, length: 1 }],
    ['that nobody knows', EINVAL, { command: 99, length: 5 }],
    ['of the highest number', EINVAL, { command: 0xffff, offset: 2n ** 64n - 1n }],
    ['READ beyond the end', EINVAL, { command: READ, offset: MIB - 1, length: 2 }],
    ['READ far beyond', EINVAL, { command: READ, offset: 2n ** 64n - 1n, length: 2 }],
    ['READ wrapping around', EINVAL, { command: READ, offset: 2n ** 64n - 4096n, length: 8192 }],
    ['TRIM beyond the end', EINVAL, { command: TRIM, offset: MIB, length: 1 }],
    ['CACHE beyond the end', EINVAL, { command: CACHE, length: 0xffffffff }],
    ['BLOCK_STATUS beyond', EINVAL, { command: BLOCK_STATUS, offset: MIB, length: 1 }],
    ['BLOCK_STATUS of nothing', EINVAL, { command: BLOCK_STATUS }],
    ['WRITE beyond the end', ENOSPC, { command: WRITE, offset: MIB - 1, payload: Buffer.alloc(2) }],
    ['zeroes beyond the end', ENOSPC, { command: WRITE_ZEROES, offset: 1, length: MIB }],
    ['DF longer than a piece', EOVERFLOW, { command: READ, flags: DF, length: 256 * KIB + 1 }],
  ])('is refused: %s', async (_, errno, request) => {
    const client = new TestClient();
    const [refused, next] = await client.ask(request, { command: READ, length: 100 });
    expect(refused?.errno).toBe(errno);
    expect(next?.data?.equals(client.parts.disk.subarray(0, 100))).toBe(true);
    expect(client.failure).toBeUndefined();
    let failures = 0;
    client.statistics.requestsOf('disk').forEach((_name, code, count) => {
      if (code === errno) failures += count;
    });
    expect(failures).toBe(1);
  });

  test('is refused for its flags first, then for what is offered, for what may change, for range', async () => {
    const client = new TestClient({ transmissionFlags: READ_ONLY_FLAGS });
    const beyond = { offset: MIB, length: 5 };
    const payload = Buffer.alloc(5);
    const answers = await client.ask(
      { command: WRITE, flags: FUA, ...beyond, payload },
      { command: FLUSH },
      { command: WRITE, offset: MIB, payload },
      { command: TRIM, ...beyond },
      { command: WRITE_ZEROES, ...beyond },
      { command: READ, ...beyond },
      { command: CACHE, length: 5 },
    );
    const errnos = answers.map(({ errno }) => errno);
    expect(errnos).toEqual([EINVAL, EINVAL, EPERM, EPERM, EPERM, EINVAL, 0]);
    expect(client.parts.storage.requests).toMatchObject({ write: 0, discard: 0, writeZeroes: 0 });
  });

  test('that is refused has a latency as any other, an unknown one too', async () => {
    const client = new TestClient();
    const payload = Buffer.alloc(5);
    await client.ask(
      { command: READ, offset: MIB, length: 5 },
      { command: WRITE, offset: MIB, payload },
      { command: 99 },
    );
    const counts = client.statistics.latencies.map((each) => each.counts.reduce((a, b) => a + b));
    expect(counts).toEqual([1, 1, 0, 0, 0, 0, 0, 0, 1]);
  });

  test('that was not negotiated is refused', async () => {
    const client = new TestClient({ contextIds: [], isStructured: false });
    const [df] = await client.ask({ command: READ, flags: DF, length: 1 });
    expect(df?.errno).toBe(EINVAL);
    const other = new TestClient({ contextIds: [] });
    const [status] = await other.ask({ command: BLOCK_STATUS, length: 1 });
    expect(status?.errno).toBe(EINVAL);
  });

  test.each([
    ['FLUSH', TransmissionFlag.SEND_FLUSH, { command: FLUSH }],
    ['FUA', TransmissionFlag.SEND_FUA, { command: TRIM, flags: FUA, length: PAGE }],
    ['TRIM', TransmissionFlag.SEND_TRIM, { command: TRIM, length: PAGE }],
    ['WRITE_ZEROES', TransmissionFlag.SEND_WRITE_ZEROES, { command: WRITE_ZEROES, length: PAGE }],
    [
      'FAST_ZERO',
      TransmissionFlag.SEND_FAST_ZERO,
      { command: WRITE_ZEROES, flags: FAST_ZERO, length: PAGE },
    ],
    ['CACHE', TransmissionFlag.SEND_CACHE, { command: CACHE, length: PAGE }],
  ])('that was not offered is refused, and does nothing: %s', async (_, flag, request) => {
    const client = new TestClient({ transmissionFlags: ALL_FLAGS & ~flag });
    const [answer] = await client.ask(request);
    expect(answer?.errno).toBe(EINVAL);
    expect(Object.values(client.parts.storage.requests).some((count) => count > 0)).toBe(false);
  });

  test('FAST_ZERO is refused where zeroes are not fast, and nothing is changed', async () => {
    const parts = makeExport();
    Object.defineProperty(parts.storage, 'supports', {
      value: { discard: true, fastZeroes: false, extents: true },
    });
    const client = new TestClient({ parts });
    const before = Buffer.from(parts.disk);
    const [answer] = await client.ask({ command: WRITE_ZEROES, flags: FAST_ZERO, length: MIB });
    expect(answer?.errno).toBe(NbdErrno.ENOTSUP);
    expect(parts.disk.equals(before)).toBe(true);
  });

  test('FAST_ZERO is refused where the image finds out only then that it is slow', async () => {
    const parts = makeExport();
    parts.storage.writeZeroes = async (_offset, _length, _mayDiscard, mustBeFast) => {
      expect(mustBeFast).toBe(true);
      throw new TmemError('unsupported', 'no fast zeroes here');
    };
    const client = new TestClient({ parts });
    const [answer] = await client.ask({ command: WRITE_ZEROES, flags: FAST_ZERO, length: MIB });
    expect(answer?.errno).toBe(NbdErrno.ENOTSUP);
  });

  test.each([
    ['write', 'ENOSPC', NbdErrno.ENOSPC, { command: WRITE, payload: Buffer.alloc(PAGE) }],
    ['write', 'EIO', NbdErrno.EIO, { command: WRITE, payload: Buffer.alloc(PAGE) }],
    ['sync', 'EIO', NbdErrno.EIO, { command: FLUSH }],
    ['sync', 'EIO', NbdErrno.EIO, { command: WRITE, flags: FUA, payload: Buffer.alloc(9) }],
    ['discard', 'EIO', NbdErrno.EIO, { command: TRIM, length: PAGE }],
    ['writeZeroes', 'ENOSPC', NbdErrno.ENOSPC, { command: WRITE_ZEROES, length: PAGE }],
    ['read', 'EIO', NbdErrno.EIO, { command: CACHE, length: PAGE }],
    ['extent', 'EIO', NbdErrno.EIO, { command: BLOCK_STATUS, length: PAGE }],
  ] as const)('fails as the disk does: %s, %s', async (operation, code, errno, request) => {
    const client = new TestClient();
    client.parts.storage.failNext(operation, code);
    const [answer] = await client.ask(request);
    expect(answer?.errno).toBe(errno);
    expect(client.parts.buffers.lentBytes).toBe(0);
  });
});
