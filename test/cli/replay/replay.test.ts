import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Clock } from '../../../src/cli/command/clock.ts';
import { main } from '../../../src/cli/main.ts';
import { runReplay } from '../../../src/cli/replay/replay.ts';
import { ProgressLine } from '../../../src/cli/replay/replay-progress.ts';
import { runWell } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { ScriptedContext } from '../scripted-context.ts';

/** Ten rounds of a loop over 100 pages of 4 KiB, half a second from each read to the next. */
function loopTrace(directory: string, name = 'loop.csv'): string {
  const lines = Array.from({ length: 1000 }, (_, at) => {
    const ticks = 128_166_372_000_000_000n + BigInt(at) * 5_000_000n;
    return `${ticks},host,0,Read,${(at % 100) * 4096},4096,100`;
  });
  const file = path.join(directory, name);
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

async function run(...args: string[]) {
  const context = new ScriptedContext();
  const code = await main(['replay', '--threads', '0', ...args], context);
  return { code, out: context.out, err: context.err };
}

describe('tmem replay', () => {
  test('prints the trace, hit ratios by size and policy, and advice', async () => {
    const file = loopTrace(workspace());
    const { code, out, err } = await run('--memory', '50p,400KiB', '--policy', 'lru,belady', file);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain(
      'loop.csv: 1,000 requests, 1,000 accesses of pages of 4KiB, footprint 400KiB, first uses 10.0 %',
    );
    expect(out).toMatch(/^ +size +footprint +lru +belady$/m);
    expect(out).toMatch(/^200KiB +50\.0 % +0\.0 % +\d+\.\d %$/m);
    expect(out).toMatch(/^400KiB +100\.0 % +90\.0 % +90\.0 %$/m);
    expect(out).toContain('Keep 400 KiB of pages (100.0 % of the footprint) with lru: 90.0 %');
  });

  test('says one request, and not one requests', async () => {
    const file = path.join(workspace(), 'one.lis');
    writeFileSync(file, '7 1 0 0\n');
    const { out } = await run('--page', '512', '--memory', '1p', '--policy', 'lru', file);
    expect(out).toContain('one.lis: 1 request, 1 access of pages of 512B,');
  });

  test('prints every run as JSON', async () => {
    const file = loopTrace(workspace());
    const { code, out } = await run('--json', '--memory', '50%,100%', '--policy', 'lru', file);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject([
      {
        trace: 'loop.csv',
        policy: 'lru',
        capacityPages: 50,
        requests: 1000,
        hits: 0,
        misses: 1000,
      },
      { trace: 'loop.csv', policy: 'lru', capacityPages: 100, hits: 900, misses: 100 },
    ]);
  });

  test('takes policies with parameters, which have commas of their own', async () => {
    const file = loopTrace(workspace());
    const list = 'lru,s3fifo:threshold=1,small=0.2,clock:bits=2';
    const { out } = await run('--json', '--memory', '50p', '--policy', list, file);
    const policies = (JSON.parse(out) as { policy: string }[]).map(({ policy }) => policy);
    expect(policies).toEqual(['lru', 's3fifo:threshold=1,small=0.2', 'clock:bits=2']);
  });

  test('runs all policies when it is told to', async () => {
    const { out } = await run('--json', '--memory=50p', '--policy=lru,all', loopTrace(workspace()));
    const policies = (JSON.parse(out) as { policy: string }[]).map(({ policy }) => policy);
    expect(policies).toHaveLength(14);
    expect(policies.slice(0, 2)).toEqual(['lru', 's3fifo-cw']);
    expect(policies).toContain('belady');
  });

  test('makes the same report every time, which says how it was made', async () => {
    const directory = workspace();
    const file = loopTrace(directory);
    for (const name of ['one', 'two']) {
      const { code, out } = await run('--out', path.join(directory, name), file);
      expect(code).toBe(0);
      expect(out).toContain(`report: ${path.join(directory, name, 'report.html')}`);
    }
    const [one, two] = ['one', 'two'].map((name) =>
      readdirSync(path.join(directory, name)).map((each) => [
        each,
        readFileSync(path.join(directory, name, each), 'utf8'),
      ]),
    );
    expect(two).toEqual(one);
    const html = readFileSync(path.join(directory, 'one', 'report.html'), 'utf8');
    expect(html).toMatch(/tmem replay --format auto --page 4KiB --memory .* -- .*loop\.csv/);
    expect(html).toMatch(/SHA-256<\/dt><dd>[0-9a-f]{64}</);
  });

  test('of a pipe says a command that a pipe can be given', async () => {
    const directory = workspace();
    const trace = readFileSync(loopTrace(directory));
    const pipe = path.join(directory, 'pipe');
    await runWell('mkfifo', [pipe]);
    const out = path.join(directory, 'out');
    const written = writeFile(pipe, trace);
    expect(await run('--memory', '50p', '--out', out, pipe)).toMatchObject({ code: 0, err: '' });
    await written;
    const { settings } = JSON.parse(readFileSync(path.join(out, 'report.json'), 'utf8'));
    expect(settings.command).toMatch(/ --policy s3fifo-cw,[^ ]*,lru --/);
  });

  test('of the default sizes that the engine full takes says a command that it takes', async () => {
    const directory = workspace();
    const file = path.join(directory, 'loop.lis');
    writeFileSync(file, '0 4000 0 0\n0 4000 0 1\n');
    const out = path.join(directory, 'out');
    const full = ['--engine', 'full', '--policy', 'lru'];
    const { code, out: printed, err } = await run(...full, '--out', out, file);
    expect({ code, err, left: printed.match(/left out/g) }).toEqual({
      code: 0,
      err: '',
      left: ['left out'],
    });
    const { settings } = JSON.parse(readFileSync(path.join(out, 'report.json'), 'utf8'));
    expect(settings.command).toContain(' --policy lru ');
    expect(settings.command).not.toContain('--memory');
  });

  test('scales a recorded sample to the whole, but not beside a file that is none', async () => {
    const directory = workspace();
    const file = path.join(directory, 'all.lis');
    writeFileSync(file, '0 40000 0 0\n0 40000 0 1\n');
    for (const sample of ['0.25', '1']) {
      const cut = ['trace', 'cut', file, '--sample', sample, '--out', `${file}-${sample}.trace`];
      expect(await main(cut, new ScriptedContext())).toBe(0);
    }
    const args = ['--memory', '2000p', '--policy', 'lru', `${file}-0.25.trace`];
    const { out } = await run(...args);
    expect(out).toMatch(
      /footprint 19\.\d+MiB, first uses 50\.0 %; a sample of 25\.0 % of the pages$/m,
    );
    expect(out).toMatch(/^7\.81MiB +\d+\.\d % +0\.0 % /m);
    expect(out).toContain('- The trace has 25.0 % of the pages: ');
    const both = await run(...args, `${file}-1.trace`);
    expect(both.out).toContain('not scaled since its files have different shares');
    expect(both.out).not.toContain('; a sample of');
  });

  test('refuses an output folder that exists before it reads anything', async () => {
    const directory = workspace();
    mkdirSync(path.join(directory, 'out'));
    const out = path.join(directory, 'out');
    expect(await run('--out', out, loopTrace(directory))).toEqual({
      code: 2,
      out: '',
      err: `tmem: --out: ${out} exists; name a folder that does not, or remove it\n`,
    });
    expect(readdirSync(out)).toEqual([]);
  });

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('leaves no folder when %s ends it, with code %i', async (signal, code) => {
    const directory = workspace();
    const context = new ScriptedContext();
    const args = ['--threads', '0', '--out', path.join(directory, 'out'), loopTrace(directory)];
    const running = runReplay(args, context);
    context.signals.emit(signal, signal);
    expect(await running).toBe(code);
    expect(context.err).toBe('');
    expect(readdirSync(directory)).toEqual(['loop.csv']);
  });

  test('makes no folder of a trace that cannot be read', async () => {
    const directory = workspace();
    const file = path.join(directory, 'empty');
    writeFileSync(file, '');
    const { code, err } = await run('--out', path.join(directory, 'out'), file);
    expect({ code, err }).toEqual({
      code: 2,
      err: `tmem: ${file} is empty; there is no trace in it\n`,
    });
    expect(existsSync(path.join(directory, 'out'))).toBe(false);
    expect(readdirSync(directory)).toEqual(['empty']);
  });

  test('refuses what is no image, as a folder or a pipe, before it reads anything', async () => {
    const directory = workspace();
    const pipe = path.join(directory, 'pipe');
    await runWell('mkfifo', [pipe]);
    for (const contents of [directory, pipe]) {
      const args = ['--engine', 'full', '--contents', contents, loopTrace(directory)];
      const sentence = `--contents: ${contents} is neither a file nor a block device`;
      const err = `tmem: ${sentence}; name a raw image, or give a ratio, or mixed\n`;
      expect(await run(...args)).toEqual({ code: 2, out: '', err });
    }
  });

  test.each([
    [[], 'tmem replay needs a trace to replay; see its --help'],
    [['--memory', '10MB', 'x'], '--memory: "10MB" is ambiguous; write 10MiB; or give pages'],
    [['--policy', 'lur', 'x'], 'there is no policy "lur" to replay'],
    [['--policy', '2q:in=0.3:out=0.4', 'x'], '"2q:in=0.3:out=0.4" cannot be read; write NAME'],
    [
      ['--engine', 'full', '--contents', 'no.raw', 'x'],
      '--contents: cannot read /srv/no.raw: there is no such file; check',
    ],
    [['--policy', '', 'x'], '--policy needs a value: LIST'],
    [['--ops', 'writes', 'x'], '--ops: there is no "writes"; choose of reads, all'],
    [['--sample', '0', 'x'], '--sample: "0" is not a share'],
    [['--sample', '200%', 'x'], '--sample: "200%" is not a share'],
    [['--warmup', '100%', 'x'], '--warmup: "100%" is no warm-up'],
    [['--warmup', '1.5', 'x'], '--warmup: "1.5" is no warm-up'],
    [['--page', '0', 'x'], '--page: "0" is out of range; give 1 to 64MiB, as 4KiB'],
    [['--seed', 'x', 'x'], '--seed: "x" is not a whole number from 0 to 2147483647'],
    [['--engine', 'fast', 'x'], '--engine: there is no "fast"; choose of sizes, full'],
    [['--progress=maybe', 'x'], '--progress: there is no "maybe"'],
  ])('refuses %j in one sentence', async (args, sentence) => {
    const { code, out, err } = await run(...args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(`tmem: ${sentence}`);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });
});

class TerminalContext extends ScriptedContext {
  override readonly isTerminal = true;
}

describe('the progress of a replay', () => {
  const clock = (): Clock & { ms: number } => ({
    ms: 0,
    nowMs() {
      return this.ms;
    },
    pause: () => Promise.resolve(),
  });

  test('is a bar with rate and time left on a terminal, and is gone at the end', () => {
    const context = new TerminalContext();
    const time = clock();
    const line = new ProgressLine(context, time);
    line.show({ phase: 'simulating', done: 0, all: 4_000_000 });
    expect(context.err).toBe('');
    time.ms = 1000;
    line.show({ phase: 'simulating', done: 1_000_000, all: 4_000_000 });
    expect(context.err).toContain('██████░░░');
    expect(context.err).toContain('simulating  25 %  1,000,000/s  3 s left');
    line.end();
    expect(context.err.endsWith('\r\u001b[K')).toBe(true);
  });

  test('is a line now and then elsewhere', () => {
    const context = new ScriptedContext();
    const time = clock();
    const line = new ProgressLine(context, time);
    line.show({ phase: 'reading', done: 0, all: 0 });
    for (time.ms = 100; time.ms <= 12_000; time.ms += 100) {
      line.show({ phase: 'reading', done: time.ms * 1024, all: 0 });
    }
    line.end();
    expect(context.err).toBe('reading  4.88MiB  1000KiB/s\nreading  9.77MiB  1000KiB/s\n');
  });
});
