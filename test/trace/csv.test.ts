/** CSV as programs and people really write it: marks, spaces, quotation marks, odd numbers. */

import { describe, expect, it, test } from 'vitest';
import { fileHeadOf } from '../../src/trace/file-head.ts';
import { detectFormat, formatOfName } from '../../src/trace/formats.ts';
import { FIXTURES } from './fixtures.ts';
import { parseInPieces } from './parsing.ts';

const MARK = Buffer.from('efbbbf', 'hex');
const REQUEST = { timeUs: 5, op: 'write', offset: 8192, length: 4096, volume: 'a_b' };

function parse(text: string, options = {}, format = 'csv') {
  return parseInPieces(format, Buffer.from(text), [], options);
}

function warningsOf(text: string, columns?: string): readonly string[] {
  const head = fileHeadOf('t.csv', Buffer.from(text), true);
  return formatOfName('csv').read(head, { columns }).warnings ?? [];
}

describe.each(FIXTURES.filter(({ bytes }) => bytes.every((byte) => byte >= 0x09 && byte < 0x7f)))(
  'a text of $format',
  ({ format, bytes, requests }) => {
    it('may begin with a byte order mark', () => {
      const marked = Buffer.concat([MARK, bytes]);
      expect(detectFormat(fileHeadOf('x', marked, true)).name).toBe(format);
      for (const cuts of [[], [1], [2], [4]]) {
        expect(parseInPieces(format, marked, cuts)).toMatchObject({
          requests,
          tally: { malformed: 0 },
        });
      }
    });

    it('may have lines of nothing but spaces', () => {
      const spaced = Buffer.from(`${bytes.toString().trimEnd()}\n  \n\t\r\n`);
      expect(parseInPieces(format, spaced)).toMatchObject({ requests, tally: { malformed: 0 } });
    });
  },
);

describe('fields of CSV', () => {
  it.each([
    ['spaces', 'time_us, lba, sectors, op, volume\n5, 16, 8 , W, a b \n'],
    ['quotation marks', '"time_us","lba","sectors","op","volume"\n"5","16","8","W","a b"\n'],
    ['tabs', 'time_us\top\tsize\toffset\tvolume\tx\n5\tw\t4096\t8192\ta b\t\n'],
    ['tabs around them', 'time_us,lba,sectors,op,volume\n\t5,16\t,8,\tW,a b \t\n'],
    ['fractions of zeros', 'time_us,offset,length,op,volume\n5,8192.0,4096.00,1,a b\n'],
  ])('may have %s', (_, text) => {
    expect(parse(text)).toMatchObject({ requests: [REQUEST], tally: { malformed: 0 } });
  });

  it('that name objects may have fractions of zeros', () => {
    expect(parse('time_us,key\n5,77.0\n').requests).toMatchObject([{ offset: 77 }]);
  });

  it('that a request can do without may be empty, but not be anything', () => {
    const text = 'time_us,latency_us,content_bytes,offset,length\n5,,,0,512\n6,nan,,0,512\n';
    const { requests, tally } = parse(text);
    expect([requests.length, tally.malformed]).toEqual([1, 1]);
  });

  it.each([
    ['latency_us', 'latencyUs'],
    ['content_bytes', 'contentBytes'],
  ] as const)('may say more than fits: %s, of which the most is kept', (column, field) => {
    const lines = [2 ** 32 - 1, 2 ** 32, 2 ** 32 + 5].map((value) => `5,0,512,${value}\n`);
    const { requests } = parse(`time_us,offset,length,${column}\n${lines.join('')}`);
    expect(requests.map((request) => request[field])).toEqual(lines.map(() => 2 ** 32 - 1));
  });

  it('may name objects of gibibytes', () => {
    expect(parse('time_us,key,obj_size\n5,77,4294967296\n').requests).toMatchObject([
      { offset: 77, contentBytes: 2 ** 32 - 1 },
    ]);
  });

  it('of libCacheSim may have spaces, as it is told by', () => {
    const text = '1, 77, 4096, read\n';
    expect(detectFormat(fileHeadOf('x', Buffer.from(text), true)).name).toBe('libcachesim-csv');
    expect(parse(text, {}, 'libcachesim-csv').requests).toHaveLength(1);
  });

  it.each(['0x2000', '8.192e3', '8192.5', '-8192', '8192B', '8 192', ''])(
    'that are numbers are not taken for their first digits: %s',
    (offset) => {
      const { requests, tally } = parse(`time_us,offset,length\n5,${offset},4096\n`);
      expect([requests.length, tally.malformed]).toEqual([0, 1]);
    },
  );

  it.each(['time', 'time_s', 'time_ms', 'time_us', 'time_100ns', 'time_ns'])(
    'that are dates are no %s, but fractions are',
    (time) => {
      const text = `${time},offset,length\n2020-01-01 00:00:05,0,512\n5.25,0,512\n`;
      const { requests, tally } = parse(text);
      expect([requests.length, tally.malformed]).toEqual([1, 1]);
    },
  );
});

describe('columns of CSV', () => {
  it('that say the same as one before are not used, which is said', () => {
    const text = 'time_us,lba,Offset,length,type,op,volume\n5,16,999,4096,W,R,a b\n';
    expect(parse(text).requests).toEqual([REQUEST]);
    expect(warningsOf(text)).toEqual([
      'column 3 (Offset) of t.csv was not used, since column 2 (lba) says the same; ' +
        'if it is the better one, name the columns with --columns',
      expect.stringContaining('column 6 (op)'),
    ]);
    expect(warningsOf(text, 'time_us=1,offset=3,length=4')).toEqual([]);
  });

  it('of objects have no place of bytes beside their key', () => {
    expect(parse('key,offset\n7,4096\n').requests).toMatchObject([{ offset: 7 }]);
    expect(parse('offset,length,id\n4096,512,7\n').requests).toMatchObject([{ offset: 4096 }]);
  });

  it('may have other names in the first line than the user gives them', () => {
    const text = 'wann,wo,wieviel\n5,8192,4096\n';
    const columns = 'time_us=1,offset=2,length=3';
    expect(parse(text, { columns })).toMatchObject({
      requests: [{ offset: 8192 }],
      tally: { malformed: 0 },
    });
  });
});

test('a column of CSV that gets two names is refused', () => {
  expect(() => parse('1,2\n', { columns: 'offset=1,length=2,lba=1' })).toThrow('has two names');
});
