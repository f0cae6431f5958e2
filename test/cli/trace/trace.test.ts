import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { main } from '../../../src/cli/main.ts';
import { trace } from '../../../src/cli/trace/trace.ts';
import { readFiles, writeFiles } from '../../trace/written.ts';
import { ScriptedContext } from '../scripted-context.ts';

const LINES = Array.from({ length: 3000 }, (_, index) => {
  return `${index % 2},${index % 3 === 0 ? 'W' : 'R'},${(index % 100) * 4096},4096,${index * 1000}\n`;
});

const CLEAR_LINE = '\r\u001b[K';

/** A clock that goes on by a second whenever someone looks. */
class HurriedClock {
  #nowMs = 0;

  nowMs(): number {
    this.#nowMs += 1000;
    return this.#nowMs;
  }

  pause(): Promise<void> {
    return Promise.resolve();
  }
}

/** A folder with a trace, and a way to run the command in it. */
function setUp() {
  const [path = ''] = writeFiles(['disk.csv', LINES.join('')]);
  const folder = dirname(path);
  const run = async (...args: string[]) => {
    const context = new ScriptedContext();
    Object.defineProperty(context, 'directory', { value: folder });
    const code = await trace(args, context, new HurriedClock());
    return { code, out: context.out, err: context.err };
  };
  return { folder, path, run };
}

describe('tmem trace info', () => {
  it('prints what programs want to know as one line', async () => {
    const { run, path } = setUp();
    const { code, out, err } = await run('info', 'disk.csv', '--json', '--hash');
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^[^\n]+\n$/);
    expect(JSON.parse(out)).toMatchObject({
      ...{ files: [path], format: 'alibaba', unit: 'bytes', lines: 3000, requests: 3000 },
      ...{ malformed: 0, firstMalformed: null, dropped: 0, spanSeconds: 2.999 },
      operations: { read: { requests: 2000, bytes: 2000 * 4096 }, write: { requests: 1000 } },
      ...{ distinctPages: 100, isDistinctExact: true, pageAccesses: 3000, alignedRequests: 3000 },
      volumes: [
        { name: '0', requests: 1500, endBytes: 99 * 4096 },
        { name: '1', requests: 1500, endBytes: 100 * 4096 },
      ],
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });

  it('tells people in lines', async () => {
    const { out } = await setUp().run('info', 'disk.csv');
    expect(out).toMatch(/^format +alibaba, a trace of bytes$/m);
    expect(out).toMatch(/^requests +3,000 in 3,000 lines, 0 malformed$/m);
    expect(out).toMatch(/^footprint +100 pages of 4KiB, 400KiB; 3,000 accesses$/m);
    expect(out).toMatch(/^VOLUME +REQUESTS +REACHES\n0 +1,500 +396KiB$/m);
  });

  it('calls what a binary format consists of records', async () => {
    const { run } = setUp();
    await run('convert', 'disk.csv', '-o', 'x', '--to', 'oracle-general', '--page', '4KiB');
    const { out } = await run('info', 'x', '--format', 'oracle-general');
    expect(out).toMatch(/^requests +3,000 in 3,000 records, 0 malformed$/m);
  });

  it('says of times that run backwards that they do, and of no span', async () => {
    const { folder, run } = setUp();
    writeFileSync(join(folder, 'back.csv'), '1,R,0,4096,9000000\n1,R,0,4096,4000000\n');
    const { out, err } = await run('info', 'back.csv');
    expect(out).toMatch(/^span +unknown, the times run backwards$/m);
    expect(out).toMatch(/^order +1 earlier than the one before$/m);
    expect(err).toContain('the last request is 5.00 s before the first: the times run backwards');
  });

  it('warns on standard error, so that its output stays what it is', async () => {
    const { folder, run } = setUp();
    writeFileSync(join(folder, 'odd.csv'), `${LINES.join('')}odd\n`);
    const { code, out, err } = await run('info', 'odd.csv', '--json');
    expect(code).toBe(0);
    expect(err).toMatch(
      /^tmem: warning: 1 of 3001 lines were left out as malformed, first line 3001/,
    );
    expect(JSON.parse(out)).toMatchObject({ malformed: 1, firstMalformed: { line: 3001 } });
  });

  it('shows how far it is where that was asked for, and takes it away', async () => {
    const { err } = await setUp().run('info', 'disk.csv', '--progress=on');
    expect(err).toMatch(/reading .* 100\.0 % {2}3,000 requests {2}[\d,]+\/s {2}0 s left/);
    expect(err.startsWith(CLEAR_LINE)).toBe(true);
    expect(err.endsWith(CLEAR_LINE)).toBe(true);
    expect((await setUp().run('info', 'disk.csv', '--progress=off')).err).toBe('');
    expect((await setUp().run('info', 'disk.csv')).err).toBe('');
  });
});

describe('tmem trace convert', () => {
  it('writes the format that the name says, and says what it wrote', async () => {
    const { folder, path, run } = setUp();
    const { out } = await run('convert', 'disk.csv', '--out', 'disk.tmemtrace', '--json');
    const output = join(folder, 'disk.tmemtrace');
    expect(JSON.parse(out)).toMatchObject({
      output,
      format: 'tmem',
      requests: 3000,
      records: 3000,
    });
    const [from, to] = [await readFiles([path]), await readFiles([output])];
    expect(to.trace.formatName).toBe('tmem');
    expect(to.requests).toEqual(from.requests);
  });

  it('splits requests into pages of the size given', async () => {
    const { folder, run } = setUp();
    await run('convert', 'disk.csv', '-o', 'x', '--to', 'oracle-general', '--page', '2KiB');
    expect(readFileSync(join(folder, 'x')).length).toBe(6000 * 24);
  });

  it('replaces nothing without --force', async () => {
    const { folder, run } = setUp();
    writeFileSync(join(folder, 'x.csv'), 'kept');
    await expect(run('convert', 'disk.csv', '-o', 'x.csv')).rejects.toThrow(/x\.csv exists/);
    expect(readFileSync(join(folder, 'x.csv'), 'utf8')).toBe('kept');
    expect((await run('convert', 'disk.csv', '-o', 'x.csv', '--force')).code).toBe(0);
    expect(readFileSync(join(folder, 'x.csv'), 'utf8')).toMatch(/^time_us,/);
  });

  it('writes no file called - where stdout was meant', async () => {
    const { folder, run } = setUp();
    await expect(run('convert', 'disk.csv', '-o', '-')).rejects.toThrow(/to a file, not to stdout/);
    expect(existsSync(join(folder, '-'))).toBe(false);
    expect((await run('convert', 'disk.csv', '-o', './-')).code).toBe(0);
  });

  it.each(['x.csv.gz', 'x.tmemtrace.ZST'])(
    'writes no %s, which would not be that',
    async (name) => {
      const { folder, run } = setUp();
      const refusal = /x\..* is called like a compressed file, .* leave \.(gz|ZST) out/;
      await expect(run('convert', 'disk.csv', '-o', name)).rejects.toThrow(refusal);
      await expect(run('convert', 'disk.csv', '-o', name, '--to', 'csv')).rejects.toThrow(refusal);
      expect(readdirSync(folder)).toEqual(['disk.csv']);
    },
  );

  it('leaves nothing behind when the trace turns out to be something else', async () => {
    const { folder, run } = setUp();
    writeFileSync(join(folder, 'half.csv'), `${LINES.join('')}${'odd\n'.repeat(200)}`);
    await expect(run('convert', 'half.csv', '-o', 'x.lcs')).rejects.toThrow(/200 of 3200 lines/);
    expect(readdirSync(folder).sort()).toEqual(['disk.csv', 'half.csv']);
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('leaves nothing behind when %s ends it, with code %i', async (signal, code) => {
    const { folder } = setUp();
    const context = new ScriptedContext();
    Object.defineProperty(context, 'directory', { value: folder });
    const running = trace(['convert', 'disk.csv', '-o', 'x.lcs'], context);
    context.signals.emit(signal, signal);
    expect(await running).toBe(code);
    expect(readdirSync(folder)).toEqual(['disk.csv']);
  });
});

describe('tmem trace cut', () => {
  it('keeps what all options say', async () => {
    const { folder, run } = setUp();
    const options = ['--from', '1', '--until=2', '--volume', '1', '--op', 'write'];
    const { out } = await run('cut', 'disk.csv', '-o', 'x.csv', ...options);
    expect(out).toMatch(/^wrote 166 requests as 166 records of csv to .*x\.csv/);
    const { requests } = await readFiles([join(folder, 'x.csv')]);
    const kept = requests.filter(({ op, volume }) => op === 'write' && volume === '1');
    expect(kept).toHaveLength(166);
  });

  it('tells which of the volumes are none of the trace, if it read all of it', async () => {
    const { run } = setUp();
    const volumes = ['--volume', '1', '--volume', 'nope'];
    const whole = await run('cut', 'disk.csv', '-o', 'x.csv', ...volumes);
    expect(whole.err).toMatch(/^tmem: warning: no request is of volume "nope"; .*\n$/);
    const part = await run('cut', 'disk.csv', '-o', 'y.csv', ...volumes, '--requests', '9');
    expect(part.err).toBe('');
  });

  it.each(['--from', '--until'])('takes no %s of a trace without times', async (option) => {
    const { folder, run } = setUp();
    writeFileSync(join(folder, 'x.lis'), '0 8 0 1\n8 8 0 2\n');
    await expect(run('cut', 'x.lis', '-o', 'y.trace', option, '1')).rejects.toThrow(
      'x.lis has no times, so that --from',
    );
    expect(readdirSync(folder)).not.toContain('y.trace');
  });

  it('keeps a share of the pages, which all that is made of it says', async () => {
    const { folder, run } = setUp();
    const at = (name: string) => join(folder, `${name}.tmemtrace`);
    await run('cut', 'disk.csv', '-o', at('sample'), '--sample', '25%');
    const { trace: sample, requests } = await readFiles([at('sample')]);
    expect(sample.sampleRate).toBe(0.25);
    expect(requests.length).toBeLessThan(LINES.length / 2);
    await run('convert', at('sample'), '-o', at('converted'));
    await run('cut', at('sample'), '-o', at('cut'), '--op', 'read');
    // The volumes get other numbers, by which no page may be chosen again.
    await run('merge', at('cut'), at('sample'), '--prefix', '-o', at('merged'));
    const reads = requests.filter(({ op }) => op === 'read').length;
    for (const [name, count] of [
      ['converted', requests.length],
      ['cut', reads],
      ['merged', reads + requests.length],
    ] as const) {
      const made = await readFiles([at(name)]);
      expect([made.trace.sampleRate, made.requests.length], name).toEqual([0.25, count]);
    }
  });

  it('refuses to keep all of it, or nothing', async () => {
    const { folder, run } = setUp();
    await expect(run('cut', 'disk.csv', '-o', 'x')).rejects.toThrow(/nothing says what to keep/);
    await expect(run('cut', 'disk.csv', '-o', 'x', '--volume', 'no')).rejects.toThrow(
      /no request is left/,
    );
    expect(existsSync(join(folder, 'x'))).toBe(false);
  });
});

describe('tmem trace merge', () => {
  it('makes one trace of several', async () => {
    const { folder, run } = setUp();
    writeFileSync(join(folder, 'other'), '1538323200,8,8,0,1313\n1538323201,8,8,0,1313\n');
    await run('merge', 'disk.csv', 'other', '-o', 'x', '--align', '--prefix');
    const { trace: merged, requests } = await readFiles([join(folder, 'x')]);
    expect(requests).toHaveLength(3002);
    expect([...merged.volumes].sort()).toEqual(['disk.csv:0', 'disk.csv:1', 'other:1313']);
    expect(requests.find(({ timeUs }) => timeUs === 1e6)?.volume).toBe('disk.csv:0');
  });
});

describe('tmem trace', () => {
  const refusals: [string[], RegExp][] = [
    [[], /no verb was given; see tmem trace --help/],
    [['infp', 'x'], /no verb "infp"; did you mean tmem trace info/],
    [['info'], /tmem trace info needs at least a trace; name the files/],
    [['merge', 'disk.csv'], /needs at least 2 traces/],
    [['info', 'disk.csv', '--format', 'nope'], /no trace format "nope"; take one of tmem, msr/],
    [['info', 'disk.csv', '--time-unit', 'h'], /"h" is not a unit; take one of s, ms, us/],
    [['info', 'disk.csv', '--sector-bytes', '0'], /"0" is not a whole number from 1/],
    [['info', 'disk.csv', '--progress', 'maybe'], /no "maybe"; choose of auto, on, off/],
    [['info', 'none.csv'], /cannot read the trace .*none\.csv: there is no such file; check/],
    [['convert', 'disk.csv'], /no output was named; give --out FILE/],
    [['convert', 'disk.csv', '-o', 'x', '--to', 'cvs'], /cannot be written as "cvs"; .*csv/],
    [['convert', 'disk.csv', '-o', 'x', '--page', '3000'], /"3000" is no power of two/],
    [
      ['convert', 'disk.csv', '-o', 'no/x'],
      /cannot create .*no\/x: the system answered ENOENT; make its directory/,
    ],
    [['cut', 'disk.csv', '-o', 'x', '--sample', '2'], /"2" is not a share/],
    [['cut', 'disk.csv', '-o', 'x', '--from', 'now'], /"now" is not a time/],
    [['cut', 'disk.csv', '-o', 'x', '--op', 'raed'], /"raed" is no operation/],
  ];

  it.each(refusals)('%j is refused with what to do', async (args, message) => {
    const { folder, run } = setUp();
    const error = await run(...args).catch((cause) => cause);
    expect(error).toMatchObject({ name: 'TmemError', message: expect.stringMatching(message) });
    expect(error.message).not.toMatch(/\n|\.$/);
    expect(readdirSync(folder)).toEqual(['disk.csv']);
  });

  it('is a command of the program', async () => {
    const context = new ScriptedContext();
    expect(await main(['trace', 'info', '/none'], context)).toBe(2);
    expect(context.err).toBe(
      'tmem: cannot read the trace /none: there is no such file; check the path\n',
    );
    expect(await main(['trace', '--help'], context)).toBe(0);
    expect(context.out).toMatch(/^Usage: tmem trace VERB/);
  });
});
