import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { openTrace } from '../../src/trace/open-trace.ts';
import { runWell } from '../tools/programs.ts';
import { blktraceEvent, FIXTURES } from './fixtures.ts';
import { readAll, readFiles, writeFiles } from './written.ts';

/** Lines as Alibaba has them, of one volume. */
function alibaba(volume: number, timesUs: readonly number[]): string {
  return timesUs.map((time) => `${volume},R,${time * 512},512,${time}\n`).join('');
}

/** A trace that comes in several batches. */
const LONG = alibaba(
  3,
  Array.from({ length: 40_000 }, (_, index) => index * 1000),
);

function zstdOf(path: string): Buffer {
  return execFileSync('zstd', ['-q', '-c', path]);
}

describe('a trace', () => {
  it.each(FIXTURES)('of $format is opened without being told what it is', async (fixture) => {
    const paths = writeFiles(['trace', fixture.bytes]);
    const { trace, requests } = await readFiles(paths);
    expect(trace.formatName).toBe(fixture.format);
    const named = fixture.requests.map(({ volume, ...rest }) => ({
      ...rest,
      volume: volume === 'disk' ? 'trace' : volume,
    }));
    expect(requests).toEqual(named);
    expect(trace.statistics.requests).toBe(named.length);
  });

  it('is the same compressed with gzip, in one piece or two', async () => {
    const half = LONG.indexOf('\n', LONG.length / 2) + 1;
    const halves = [LONG.slice(0, half), LONG.slice(half)].map((part) => gzipSync(part));
    const paths = writeFiles(
      ['a', LONG],
      ['a.gz', gzipSync(LONG)],
      ['b.gz', Buffer.concat(halves)],
    );
    const [plain, ...packedOnes] = await Promise.all(paths.map((path) => readFiles([path])));
    expect(plain?.requests).toHaveLength(40_000);
    for (const { requests } of packedOnes) {
      expect(requests.length).toBe(40_000);
      expect(requests.at(-1)).toEqual({ ...plain?.requests.at(-1), volume: '3' });
    }
  });

  it('is the same compressed with zstd, in one frame or two', async () => {
    const [plain = ''] = writeFiles(['a', LONG]);
    const frame = zstdOf(plain);
    const [one = '', two = ''] = writeFiles(['a.zst', frame], ['b', Buffer.concat([frame, frame])]);
    expect((await readFiles([one])).requests).toEqual((await readFiles([plain])).requests);
    expect((await readFiles([two])).requests).toHaveLength(80_000);
  });

  it('can be read again, and has the hash of its files', async () => {
    const [path = ''] = writeFiles(['a.csv', LONG]);
    const trace = await openTrace([path]);
    expect(trace.canRereads).toBe(true);
    expect(await readAll(trace)).toEqual(await readAll(trace));
    expect(await trace.hash()).toBe(createHash('sha256').update(LONG).digest('hex'));
    expect(trace.doneBytes).toBe(trace.sizeBytes);
  });

  it('has each time what it had when it was opened, though a recorder writes on', async () => {
    const line = (time: number, volume: string) => `${time},${volume},read,0,4096\n`;
    const start = `time_us,volume,op,offset,length\n${line(0, 'a')}`;
    for (const [name, content] of [
      ['t.csv', start],
      ['t.csv.gz', gzipSync(start)],
    ] as const) {
      const [path = ''] = writeFiles([name, content]);
      const trace = await openTrace([path]);
      const first = await readAll(trace);
      appendFileSync(path, name.endsWith('gz') ? gzipSync(line(1, 'b')) : line(1, 'b'));
      expect(await readAll(trace)).toEqual(first);
      expect(await trace.hash()).toBe(createHash('sha256').update(content).digest('hex'));
    }
  });

  it('that is gone when it is hashed is named', async () => {
    const [path = ''] = writeFiles(['trace', alibaba(1, [1, 2, 3])]);
    const trace = await openTrace([path]);
    rmSync(path);
    await expect(trace.hash()).rejects.toMatchObject({
      kind: 'not-found',
      message: `cannot read the trace ${path}: there is no such file; check the path`,
    });
  });

  it('that is a pipe can be read once', async () => {
    const folder = dirname(writeFiles(['a', LONG])[0] ?? '');
    const [pipe, file] = [join(folder, 'pipe'), join(folder, 'a')];
    await runWell('mkfifo', [pipe], { directory: folder });
    const writer = runWell('sh', ['-c', `cat ${file} > ${pipe}`], { directory: folder });
    const trace = await openTrace([pipe]);
    expect(trace.canRereads).toBe(false);
    expect(await readAll(trace)).toHaveLength(40_000);
    await writer;
    await expect(readAll(trace)).rejects.toThrow(/pipe is a pipe and can be read once/);
  });

  it('of several files is merged by time, whatever the order of the files', async () => {
    const times = [1, 5, 6, 20];
    const others = [2, 5, 7, 8, 30];
    const late = [100, 101];
    const paths = writeFiles(
      ['late', alibaba(3, late)],
      ['one', alibaba(1, times)],
      ['two', alibaba(2, others)],
    );
    const { trace, requests } = await readFiles(paths);
    const merged = [...times, ...others, ...late].sort((one, other) => one - other);
    expect(requests.map(({ timeUs }) => timeUs)).toEqual(merged);
    expect([...trace.volumes].sort()).toEqual(['1', '2', '3']);
    for (const { offset, timeUs } of requests) expect(offset).toBe(timeUs * 512);
  });

  it('of blktrace is merged from the files of all processors', async () => {
    const events = [1000, 2000, 3000, 4000].map((time) => blktraceEvent(time, time, 512, 0x10001));
    const paths = writeFiles(
      ['sda.blktrace.0', Buffer.concat([events[1] ?? '', events[2] ?? ''].map(Buffer.from))],
      ['sda.blktrace.1', Buffer.concat([events[0] ?? '', events[3] ?? ''].map(Buffer.from))],
    );
    const { requests } = await readFiles(paths);
    expect(requests.map(({ timeUs }) => timeUs)).toEqual([1, 2, 3, 4]);
  });

  it('without times has its files one after another', async () => {
    const paths = writeFiles(['b.trace', '5\n6\n'], ['a.trace', '7\n']);
    const { trace, requests } = await readFiles(paths);
    expect(trace.hasClock).toBe(false);
    expect(requests.map(({ offset, timeUs }) => [offset, timeUs])).toEqual([
      [5, 0],
      [6, 1],
      [7, 2],
    ]);
  });

  it('takes a unit of time and a size of sectors from the user', async () => {
    const [path = ''] = writeFiles(['a', '1538323200,8,8,0,1\n1538323200,8,8,0,1\n']);
    const { requests } = await readFiles([path], { timeUnit: 'ms', sectorBytes: 1 });
    expect(requests[0]).toEqual({
      timeUs: 1538323200e3,
      op: 'read',
      offset: 8,
      length: 8,
      volume: '1',
    });
  });

  it('is CSV where the user names its columns, whatever it looks like', async () => {
    const msr = '128166372003061,usr,0,Read,4096,512,1\n';
    const [path = ''] = writeFiles(['a', msr]);
    const columns = 'time_us=1,op=4,offset=6,length=5';
    expect((await readFiles([path], { columns })).requests).toEqual([
      { timeUs: 128166372003061, op: 'read', offset: 512, length: 4096, volume: 'a' },
    ]);
    const refused = readFiles([path], { columns, format: 'msr' });
    await expect(refused).rejects.toThrow('--columns are of CSV, and the format msr has columns');
  });
});

describe('what is no trace is refused with one sentence:', () => {
  const refuse = async (content: string | Buffer, name = 'x', options = {}): Promise<string> => {
    const error = await readFiles(writeFiles([name, content]), options).catch((cause) => cause);
    expect(error.name).toBe('TmemError');
    expect(error.message).not.toMatch(/[\n]|\.$/);
    return error.message.replace(/\/\S*\//g, '');
  };

  it('an empty file', async () => {
    expect(await refuse('')).toBe('x is empty; there is no trace in it');
    expect(await refuse('', 'x', { format: 'msr' })).toContain('x is empty');
    expect(await refuse(gzipSync(''))).toContain('x is empty');
  });

  it('a file of headers alone', async () => {
    const header = 'fio version 3 iolog\n1 nvme add\n';
    expect(await refuse(header)).toContain('x holds no requests in 2 lines of fio iolog version 3');
  });

  it('half a damaged binary trace, of which records are counted and not lines', async () => {
    const { bytes } = FIXTURES.find(({ format }) => format === 'vscsi-v1') ?? { bytes: '' };
    const damaged = Buffer.concat([Buffer.from(bytes), Buffer.alloc(bytes.length, 0xee)]);
    const message = await refuse(damaged, 'x', { format: 'vscsi-v1' });
    expect(message).toMatch(
      /^\d+ of \d+ records of x are no CloudPhysics .*, first record \d+ of x/,
    );
  });

  it('an unknown text, which is shown with all formats there are', async () => {
    expect(await refuse('Dear sir,\nhello\n')).toMatch(
      /no known format; it begins with "Dear sir,"; .*msr/,
    );
  });

  it('unknown bytes', async () => {
    expect(await refuse(Buffer.alloc(100, 3))).toContain('it begins with the bytes 0303');
  });

  it('bytes that two formats fit', async () => {
    const both = Buffer.alloc(160);
    for (let record = 0; record < 5; record++) both[record * 32 + 15] = 1;
    for (let record = 0; record < 4; record++) both[record * 40 + 3] = 2;
    const message = await refuse(both);
    expect(message).toMatch(/x might be vscsi-v1 .* or vscsi-v2 .*; say which with --format/);
  });

  it('a format that there is not', async () => {
    expect(await refuse('1\n', 'x', { format: 'lisr' })).toContain('did you mean lirs?');
  });

  it('the wrong format, with the number of the line and the right one', async () => {
    const message = await refuse(LONG, 'x', { format: 'msr' });
    expect(message).toMatch(/lines of x are no MSR Cambridge, first line 1 of x: "3,R,0,512,0"/);
    expect(message).toContain('more than 1 % is too much: try --format alibaba');
  });

  it('a trace that becomes another one half-way', async () => {
    const other = '128166372003061629,src1,0,Read,383496192,32768,413\n'.repeat(1000);
    expect(await refuse(LONG + other)).toMatch(/1000 of 41000 lines .* line 40001 of x/);
  });

  it('gzip and zstd data that end too soon', async () => {
    const zipped = gzipSync(LONG);
    expect(await refuse(zipped.subarray(0, zipped.length / 2), 'x.gz')).toBe(
      'x.gz ends in the middle of its gzip data; get the whole file',
    );
    const [path = ''] = writeFiles(['a', LONG]);
    const frame = zstdOf(path);
    expect(await refuse(frame.subarray(0, frame.length / 2), 'x.zst')).toContain(
      'x.zst ends in the middle of its zstd data',
    );
  });

  it.each(['vscsi-v1', 'vscsi-v2', 'oracle-general', 'blktrace'])(
    'data of %s that end in the middle of a record',
    async (name) => {
      const bytes = FIXTURES.find(({ format }) => format === name)?.bytes ?? Buffer.alloc(0);
      expect(await refuse(Buffer.concat([bytes, bytes.subarray(0, 7)]))).toBe(
        'x ends in the middle of a record; get the whole file, or do without the rest: ' +
          'truncate -s -7 cuts off the last 7 bytes',
      );
    },
  );

  it('damaged zstd data', async () => {
    const [path = ''] = writeFiles(['a', LONG]);
    const frame = zstdOf(path);
    frame.fill(0xff, 20, 200);
    expect(await refuse(frame)).toMatch(/is damaged|ends in the middle/);
  });

  it('archives and other compressions, with what to do', async () => {
    expect(await refuse(Buffer.from('fd377a585a00aabbccdd', 'hex'))).toContain('xz -d');
    const tar = Buffer.alloc(1024);
    tar.write('ustar', 257);
    expect(await refuse(gzipSync(tar), 'x.tgz')).toContain('x.tgz is a tar archive; extract it');
  });

  it('a folder, and what is not there', async () => {
    const folder = dirname(writeFiles(['a', ''])[0] ?? '');
    mkdirSync(join(folder, 'sub'));
    await expect(openTrace([join(folder, 'sub')])).rejects.toThrow(/is a folder/);
    await expect(openTrace([join(folder, 'none')])).rejects.toThrow(
      /cannot read the trace .*none: there is no such file; check the path/,
    );
  });

  it('files of several formats', async () => {
    const [one = '', other = ''] = FIXTURES.filter(({ format }) => /msr|k5/.test(format)).map(
      ({ bytes, format }) => writeFiles([format, bytes])[0],
    );
    await expect(openTrace([one, other])).rejects.toThrow(
      /msr is MSR Cambridge but .*k5 is Fujitsu K5 cloud, and such files are not one trace; make them one before/,
    );
  });

  it('files of one format of which one has keys, or no times', async () => {
    const bytes = 'time_us,offset,length\n1,0,512\n';
    const refused = (other: string) =>
      readFiles(writeFiles(['a.csv', bytes], ['b.csv', bytes], ['c.csv', other]));
    const not = 'and such files are not one trace; give them to commands of their own';
    const keys = new RegExp(`a.csv has bytes but .*c.csv has keys, ${not}`);
    await expect(refused('time_us,key\n1,5\n')).rejects.toThrow(keys);
    const none = new RegExp(`a.csv has times but .*c.csv has none, ${not}`);
    await expect(refused('offset,length\n0,512\n')).rejects.toThrow(none);
  });

  it('a line that never ends', async () => {
    expect(await refuse('1'.repeat(2 ** 21), 'x', { format: 'lirs' })).toContain(
      'line 1 of x is longer than',
    );
  });
});

describe('the user is told', () => {
  const warningsOf = async (content: string | Buffer, name = 'x', options = {}) => {
    const { trace } = await readFiles(writeFiles([name, content]), options);
    return trace.statistics.warnings.map((line) => line.replace(/\/\S*\//g, ''));
  };

  it('of few malformed lines, and nothing is lost but them', async () => {
    const paths = writeFiles(['x', `${LONG}what\n${LONG}`]);
    const { trace, requests } = await readFiles(paths);
    expect(requests).toHaveLength(80_000);
    expect(trace.statistics).toMatchObject({ lines: 80_001, malformed: 1 });
    expect(trace.statistics.firstMalformed).toMatchObject({ line: 40_001, text: 'what' });
    expect(trace.statistics.warnings[0]).toMatch(/1 of 80001 lines.*line 40001 of .*: "what"/);
  });

  it('of a name that the content does not fit', async () => {
    expect(await warningsOf(LONG, 'x.gz')).toEqual(['x.gz is not compressed, and read as that']);
    expect(await warningsOf(LONG, 'x.vscsi')).toEqual([
      expect.stringMatching(/^x\.vscsi is .* whatever its name says, and read as that$/),
    ]);
    expect(await warningsOf(LONG, 'x.csv')).toEqual([]);
  });

  it('of times in another unit than the format has', async () => {
    const slow = alibaba(
      1,
      Array.from({ length: 2000 }, (_, index) => 1e9 + index * 1e9),
    );
    expect(await warningsOf(slow)).toEqual([expect.stringContaining('may count a smaller unit')]);
    expect(await warningsOf(slow, 'x', { timeUnit: 'ns' })).toEqual([]);
    const quick = alibaba(
      1,
      Array.from({ length: 2000 }, (_, index) => Math.floor(index / 100)),
    );
    expect(await warningsOf(quick)).toEqual([expect.stringContaining('may count a larger unit')]);
  });

  it("of Tencent's sizes in bytes", async () => {
    const line = '1538323200,4096,8192,0,1\n';
    expect((await warningsOf(line.repeat(30)))[0]).toContain('give --sector-bytes 1');
  });
});
