import { describe, expect, it, test } from 'vitest';
import { fileHeadOf } from '../../src/trace/file-head.ts';
import { detectFormat, TRACE_FORMATS } from '../../src/trace/formats.ts';
import { FIXTURES, LCS_MAGIC, packed } from './fixtures.ts';
import { parseInPieces } from './parsing.ts';

const OWN = 'tmem';

it('every format but our own has a trace written by hand', () => {
  const names = new Set(FIXTURES.map(({ format }) => format));
  const without = TRACE_FORMATS.map(({ name }) => name).filter((name) => !names.has(name));
  expect(without).toEqual([OWN]);
});

it('times of an MSR trace that were made relative stay what they are, from 0 on', () => {
  const lines = ['0,a,0,Read,0,512,0', '15000000000,a,0,Read,0,512,0'];
  const { requests } = parseInPieces('msr', Buffer.from(lines.join('\n')));
  expect(requests.map(({ timeUs }) => timeUs)).toEqual([0, 1.5e9]);
});

describe.each(FIXTURES)('a trace of $format', ({ format, bytes, requests }) => {
  it('is read as it was written', () => {
    const { requests: parsed, tally } = parseInPieces(format, bytes);
    expect(parsed).toEqual(requests);
    expect(tally.malformed).toBe(0);
    expect(tally.warnings).toEqual([]);
  });

  it('is read the same wherever its bytes are cut', () => {
    for (let cut = 0; cut <= bytes.length; cut++) {
      const { requests: parsed, tally } = parseInPieces(format, bytes, [cut]);
      expect(parsed, `cut at ${cut}`).toEqual(requests);
      expect(tally.malformed, `cut at ${cut}`).toBe(0);
    }
  });

  it('is told from all others by its content', () => {
    expect(detectFormat(fileHeadOf('x', bytes, true)).name).toBe(format);
  });

  it('is told by its content though the end of its last line is missing', () => {
    const head = fileHeadOf('x', bytes.subarray(0, -1), false);
    expect(detectFormat(head).name).toBe(format);
  });
});

const TEXTS = FIXTURES.filter(({ bytes }) => bytes.every((byte) => byte >= 0x09 && byte < 0x7f));

describe.each(TEXTS)('a text of $format', ({ format, bytes, requests }) => {
  it('may have lines that end as on Windows, and no end of the last one', () => {
    const windows = Buffer.from(bytes.toString().trimEnd().replaceAll('\n', '\r\n'));
    expect(parseInPieces(format, windows).requests).toEqual(requests);
  });

  it('has malformed lines counted and the first one shown with its number', () => {
    // A line that is none in any format, behind the others.
    const lines = bytes.toString().trimEnd().split('\n');
    const odd = format === 'blkparse' ? '  8,0 what' : '!?,-,-';
    const { requests: parsed, tally } = parseInPieces(
      format,
      Buffer.from([...lines, odd, odd, ''].join('\n')),
    );
    expect(parsed).toEqual(requests);
    expect(tally.malformed).toBe(2);
    expect(tally.firstMalformed).toEqual({ line: lines.length + 1, text: odd });
  });
});

it.each([
  ['msr', '128166372003061629,usr,0,Read,4096,512,1e3'],
  ['systor', '1455592257.5,0.1,R,,0,512'],
  ['alibaba', '419,W,0,16384,1577808144.5'],
  ['spc', '0,8,512,W,1e5'],
  ['k5', '12,0.1,R,0,0x200'],
  ['arc', '8 8x 0 1'],
  ['blkparse', '8,0 1 1 0.5 7 Q R 8 + 0x8'],
  ['fio-v2', 'f read 0 4k'],
  ['fio-v2', 'f read 4k 4096'],
])(
  'a line of %s is malformed whose last number is none, or that names no volume: %s',
  (format, line) => {
    const head = format === 'fio-v2' ? 'fio version 2 iolog\n' : '';
    const { requests, tally } = parseInPieces(format, Buffer.from(`${head}${line}\n`));
    expect([requests.length, tally.malformed]).toEqual([0, 1]);
  },
);

describe('a request that no disk has', () => {
  const BEYOND = Buffer.alloc(48);
  BEYOND.writeUInt32LE(0x65617407, 0);
  BEYOND.writeBigUInt64LE(1n << 62n, 16);
  BEYOND.writeUInt32LE(4096, 24);
  BEYOND.writeUInt32LE((1 << 16) | 1, 28);

  it.each([
    ['blktrace', BEYOND],
    ['arc', Buffer.from('9007199254740000 8 0 1\n')],
    ['msr', Buffer.from('128166372003061629,usr,0,Read,9007199254740991,4096,1\n')],
    ['disksim', Buffer.from('0.5 0 0 33554433 1\n')],
  ])('is malformed in a trace of %s', (format, bytes) => {
    const { requests, tally } = parseInPieces(format, bytes);
    expect(requests).toEqual([]);
    expect(tally.malformed).toBe(1);
  });
});

it('oracleGeneral of another counting is known by its name, and by that alone', () => {
  const bytes = Buffer.alloc(4 * 24);
  // The next request of each is the one behind it, counted from 0.
  for (let at = 0; at < 4; at++) bytes.writeBigInt64LE(BigInt(at + 1), at * 24 + 16);
  const named = fileHeadOf('w.oracleGeneral.bin', bytes, true);
  expect(detectFormat(named).name).toBe('oracle-general');
  expect(() => detectFormat(fileHeadOf('w.bin', bytes, true))).toThrow('no known format');
  bytes.writeBigInt64LE(-2n, 16);
  expect(() => detectFormat(named)).toThrow('no known format');
});

test.each([
  ['read', 2 ** 34, 0],
  ['read', 2 ** 34 + 1, 1],
  ['zero', 2 ** 34 + 1, 1],
  ['trim', 2 ** 47, 0],
  ['trim', 2 ** 47 + 1, 1],
])('a %s of %i bytes is malformed: %i', (op, length, malformed) => {
  const bytes = Buffer.from(`op,offset,length\n${op},0,${length}\n`);
  expect(parseInPieces('csv', bytes).tally.malformed).toBe(malformed);
});

it('of floats that the header of an lcs trace describes the whole part counts, as in libCacheSim', () => {
  const header = Buffer.alloc(1024);
  packed([8, LCS_MAGIC]).copy(header);
  header.write('<dQf', 8);
  Buffer.from([2, 3, 1]).copy(header, 248);
  packed([4, 3], [4, 20], [8, 1], [8, LCS_MAGIC]).copy(header, 1000);
  const records = [10.75, 11, Number.NaN, -1].map((seconds) => {
    const record = Buffer.alloc(20);
    record.writeDoubleLE(seconds, 0);
    record.writeBigUInt64LE(77n, 8);
    record.writeFloatLE(4096.5, 16);
    return record;
  });
  const { requests, tally } = parseInPieces('lcs', Buffer.concat([header, ...records]));
  const access = { op: 'read', offset: 77, length: 1, volume: 'disk', contentBytes: 4096 };
  expect(requests).toEqual([
    { timeUs: 10e6, ...access },
    { timeUs: 11e6, ...access },
  ]);
  expect(tally.malformed).toBe(2);
});
