import { describe, expect, it } from 'vitest';
import {
  decodeHeader,
  decodeLatency,
  encodeLatency,
  samplingHash,
} from '../../src/trace/own/format.ts';
import { OwnTraceWriter, type OwnWriterOptions } from '../../src/trace/own/writer.ts';
import { OP } from '../../src/trace/request-batch.ts';
import { fc } from '../tools/seed.ts';
import { type Parsed, parseInPieces } from './parsing.ts';

/** A file in memory; what `gate` says is waited for before each write. */
class MemorySink {
  bytes = Buffer.alloc(0);
  gate: Promise<void> = Promise.resolve();
  writes = 0;

  async write(bytes: Uint8Array, position: number): Promise<void> {
    const copy = Buffer.from(bytes);
    await this.gate;
    const end = Math.max(this.bytes.length, position + copy.length);
    this.bytes = Buffer.concat([this.bytes], end);
    copy.copy(this.bytes, position);
    this.writes++;
  }
}

type Row = readonly [timeUs: number, offset: number, length: number, volume: number, op: number];

/** Not ended, it is as a killed recorder leaves it. */
async function write(
  rows: readonly Row[],
  options: OwnWriterOptions = {},
  isEnded = true,
): Promise<Buffer> {
  const sink = new MemorySink();
  const writer = new OwnTraceWriter(sink, { volumes: ['a', 'b'], ...options });
  await writer.start();
  for (const row of rows) {
    if (!writer.hasRoom) await writer.room();
    writer.append(...row, 0, 0, 0);
  }
  await (isEnded ? writer.close() : writer.flush());
  return sink.bytes;
}

function rowsOf({ requests }: Parsed): Row[] {
  return requests.map(({ timeUs, offset, length, volume, op }) => [
    ...([timeUs, offset, length] as const),
    volume === 'a' ? 0 : 1,
    OP[op as keyof typeof OP],
  ]);
}

const ROW = fc.tuple(
  fc.nat(2 ** 50),
  fc.nat(2 ** 53 - 1 - 2 ** 32),
  fc.nat(2 ** 32 - 4096),
  fc.nat(1),
  fc.nat(4),
);

function numbered(count: number): Row[] {
  return Array.from({ length: count }, (_, index) => [index, index * 512, 512, index % 2, OP.read]);
}

describe('our own trace format', () => {
  it('gives back whatever was written, however much that is', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(ROW, { maxLength: 300 }), async (rows) => {
        const parsed = parseInPieces('tmem', await write(rows));
        expect(rowsOf(parsed)).toEqual(rows);
        expect(parsed.tally.warnings).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });

  it('is read the same wherever its bytes are cut', async () => {
    const rows = numbered(200);
    const bytes = await write(rows);
    for (let cut = 4000; cut < bytes.length; cut += 61) {
      expect(
        rowsOf(
          parseInPieces(
            'tmem',
            bytes,
            [4096, cut].sort((a, b) => a - b),
          ),
        ),
      ).toEqual(rows);
    }
  });

  it('has blocks of 4 KiB behind 4 KiB of header, each checked', async () => {
    const bytes = await write(numbered(300));
    // 2 records name each volume; 127 to a block; the last block ends with its check.
    expect(bytes.length).toBe(4096 + 2 * 4096 + (304 - 254 + 1) * 32);
    expect(decodeHeader(bytes, 'x')).toMatchObject({
      ...{ isComplete: true, unit: 'bytes', hasClock: true, requests: 300, dropped: 0 },
      volumes: ['a', 'b'],
    });
  });

  it('keeps long names and many of them', async () => {
    const volumes = Array.from({ length: 300 }, (_, index) => `${index}-${'ü'.repeat(100)}`);
    const rows = volumes.map((_, volume): Row => [volume, 0, 512, volume, OP.write]);
    const { requests } = parseInPieces('tmem', await write(rows, { volumes }));
    expect(requests.map(({ volume }) => volume)).toEqual(volumes);
  });

  it('splits requests that are longer than 32 bits', async () => {
    const parsed = parseInPieces('tmem', await write([[0, 4096, 2 ** 33, 0, OP.trim]]));
    const lengths = parsed.requests.map(({ length }) => length);
    expect(lengths.reduce((sum, length) => sum + length)).toBe(2 ** 33);
    expect(parsed.requests[1]?.offset).toBe(4096 + (lengths[0] ?? 0));
  });

  it('gives each part of a request that it splits its part of the compressed size', async () => {
    const sink = new MemorySink();
    const writer = new OwnTraceWriter(sink, { volumes: ['a'] });
    await writer.start();
    writer.append(0, 0, 2 ** 33 - 8192, 0, OP.read, 0, 0, 1e9);
    await writer.close();
    const { requests } = parseInPieces('tmem', sink.bytes);
    expect(requests.map(({ contentBytes }) => contentBytes)).toEqual([5e8, 5e8]);
  });

  it('keeps a latency to one part in 2,048', () => {
    for (let us = 0; us < 1e8; us = Math.ceil(us * 1.1 + 1)) {
      const kept = decodeLatency(encodeLatency(us));
      expect(Math.abs(kept - us)).toBeLessThanOrEqual(us / 2048);
    }
  });

  it.each([4096, 4096 + 32, 4096 + 4096, 4096 + 4096 + 5 * 32 + 7])(
    'that was complete and is cut off after %i bytes is refused',
    async (length) => {
      const bytes = (await write(numbered(200))).subarray(0, length);
      expect(() => parseInPieces('tmem', bytes)).toThrow(/is cut off: \d+ of its 200 requests are/);
    },
  );

  it('whose recorder broke off is read up to its last whole record, and that is said', async () => {
    const bytes = await write(numbered(200), {}, false);
    const parsed = parseInPieces('tmem', bytes.subarray(0, 4096 + 4096 + 5 * 32 + 7));
    expect(parsed.requests).toHaveLength(127 - 4 + 5);
    expect(parsed.tally.warnings.join()).toMatch(
      /^7 bytes of trace were never written and are left out;.*: 5 records are not covered by a checksum$/,
    );
  });

  it('has no requests where the disk was never written, as after a power cut', async () => {
    const rows = numbered(300);
    const bytes = await write(rows, {}, false);
    const { requests, tally } = parseInPieces('tmem', Buffer.concat([bytes, Buffer.alloc(81_920)]));
    expect(requests).toHaveLength(300);
    expect(tally.warnings).toEqual([
      '81920 bytes of trace were never written and are left out; get the whole file if there is one',
    ]);
    const torn = Buffer.from(bytes);
    torn.fill(0, bytes.length - 4096 + 512);
    expect(rowsOf(parseInPieces('tmem', torn))).toEqual(rows.slice(0, 2 * 127 - 4 + 16));
    const complete = await write(rows);
    complete.fill(0, 8192, 12_288);
    expect(() => parseInPieces('tmem', complete)).toThrow(/: 173 of its 300 requests are there/);
  });

  it('leaves out a damaged block, and counts what was in it', async () => {
    const bytes = await write(numbered(400));
    bytes[4096 + 4096 + 100]! ^= 1;
    const { requests, tally } = parseInPieces('tmem', bytes);
    expect(requests).toHaveLength(400 - 127);
    expect(tally.malformed).toBe(127);
    expect(tally.firstMalformed?.text).toBe('block 1 fails its checksum');
  });

  it.each([192, 2 ** 31])(
    'leaves out no other block when a name of one that was flushed says %i bytes',
    async (length) => {
      const sink = new MemorySink();
      const writer = new OwnTraceWriter(sink, { volumes: ['a'] });
      await writer.start();
      for (let time = 0; time < 3; time++) writer.append(time, 0, 512, 0, OP.read, 0, 0, 0);
      await writer.flush();
      for (let time = 3; time < 1000; time++) writer.append(time, 0, 512, 0, OP.read, 0, 0, 0);
      await writer.close();
      sink.bytes.writeUInt32LE(length, 4096 + 16);
      const { requests, tally } = parseInPieces('tmem', sink.bytes);
      expect(requests).toHaveLength(997);
      expect(tally.malformed).toBe(5);
      expect(tally.warnings).toEqual([]);
    },
  );

  it('leaves out blocks that are not where they belong', async () => {
    const bytes = await write(numbered(400));
    const [one, other] = [bytes.subarray(8192, 12288), bytes.subarray(12288, 16384)];
    const swapped = Buffer.concat([bytes.subarray(0, 8192), other, one, bytes.subarray(16384)]);
    expect(parseInPieces('tmem', swapped).tally.malformed).toBe(2 * 127);
  });

  it('with a damaged header is refused', async () => {
    const bytes = await write(numbered(3));
    bytes[200]! ^= 1;
    expect(() => parseInPieces('tmem', bytes)).toThrow(/header of .* fails its checksum/);
    expect(() => parseInPieces('tmem', bytes.subarray(0, 1000))).toThrow(/ends within its header/);
  });
});

describe('a recorder', () => {
  it('leaves requests out when the disk is slower, and says how many', async () => {
    const sink = new MemorySink();
    const writer = new OwnTraceWriter(sink, { volumes: ['a'], pieces: 2, pieceBytes: 4096 });
    await writer.start();
    let open = (): void => {};
    sink.gate = new Promise((resolve) => {
      open = resolve;
    });
    const taken = numbered(500).filter(([time, offset, length]) =>
      writer.append(time, offset, length, 0, OP.read, 0, 0, 0),
    );
    expect(taken).toHaveLength(2 * 127 - 2);
    expect(writer.dropped).toBe(500 - taken.length);
    open();
    await writer.flush();
    expect(writer.append(1000, 0, 512, 0, OP.read, 0, 0, 0)).toBe(true);
    await writer.flush();
    // As it is on the disk while it is being recorded.
    const running = parseInPieces('tmem', sink.bytes);
    expect(running.requests).toHaveLength(taken.length + 1);
    expect(running.tally.dropped).toBe(500 - taken.length);
    await writer.close();
    expect(parseInPieces('tmem', sink.bytes).tally.dropped).toBe(500 - taken.length);
  });

  it('never makes its file larger than it may be', async () => {
    const sizeBytesMax = 4096 * 4;
    const sink = new MemorySink();
    const writer = new OwnTraceWriter(sink, { volumes: ['a', 'b'], sizeBytesMax });
    await writer.start();
    for (const row of numbered(1000)) writer.append(...row, 0, 0, 0);
    expect(writer.isFull).toBe(true);
    await writer.close();
    expect(sink.bytes.length).toBe(sizeBytesMax);
    const { requests, tally } = parseInPieces('tmem', sink.bytes);
    expect(requests).toHaveLength(3 * 127 - 4);
    expect(tally.dropped).toBe(1000 - requests.length);
  });

  it('takes nothing more after a write has failed, and says why in the end', async () => {
    const failure = new Error('the disk is gone');
    const writer = new OwnTraceWriter({ write: () => Promise.reject(failure) }, { volumes: ['a'] });
    expect(writer.append(0, 0, 512, 0, OP.read, 0, 0, 0)).toBe(true);
    await expect(writer.flush()).rejects.toBe(failure);
    expect(writer.append(1, 0, 512, 0, OP.read, 0, 0, 0)).toBe(false);
    await writer.room();
    await expect(writer.close()).rejects.toBe(failure);
  });

  it('keeps all requests of a page or none, when it samples', async () => {
    const pages = Array.from({ length: 4000 }, (_, index) => index % 1000);
    const rows = pages.map((page, index): Row => [index, page * 4096, 4096, 0, OP.read]);
    const { requests, tally } = parseInPieces('tmem', await write(rows, { sampleRate: 0.25 }));
    const counts = new Map<number, number>();
    for (const { offset } of requests) counts.set(offset, (counts.get(offset) ?? 0) + 1);
    expect([...counts.values()].every((count) => count === 4)).toBe(true);
    const expected = pages.slice(0, 1000).filter((page) => samplingHash(0, page) < 2 ** 30);
    expect([...counts.keys()].map((offset) => offset / 4096)).toEqual(expected);
    expect(expected.length).toBeGreaterThan(200);
    expect(expected.length).toBeLessThan(300);
    expect(tally.dropped).toBe(0);
  });

  it('cuts a long request into its sampled pages', async () => {
    const row: Row = [0, 1000, 100 * 4096, 1, OP.write];
    const { requests } = parseInPieces('tmem', await write([row], { sampleRate: 0.5 }));
    const isSampled = (page: number): boolean => samplingHash(1, page) < 2 ** 31;
    let bytes = 0;
    for (let page = 0; page <= 100; page++) {
      const start = Math.max(1000, page * 4096);
      const end = Math.min(1000 + 100 * 4096, (page + 1) * 4096);
      if (isSampled(page)) bytes += end - start;
    }
    expect(requests.reduce((sum, { length }) => sum + length, 0)).toBe(bytes);
    for (const { offset } of requests) expect(isSampled(Math.floor(offset / 4096))).toBe(true);
  });
});
