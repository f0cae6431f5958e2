import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { shareText } from '../../../src/cli/trace/samples.ts';
import { trace } from '../../../src/cli/trace/trace.ts';
import { sampleThresholdOf } from '../../../src/trace/own/page-sampler.ts';
import { readFiles, writeFiles } from '../../trace/written.ts';
import { ScriptedContext } from '../scripted-context.ts';

/** Reads of 1,000 pages of a volume, in the form that has a volume, an operation and a time. */
function linesOf(volume: number): string {
  return Array.from({ length: 1000 }, (_, at) => `${volume},R,${at * 4096},4096,${at}\n`).join('');
}

const LONG = `1,W,0,${2 ** 30},2000\n`;

/** A folder with two traces, of volumes 1 and 2, and a way to run the command in it. */
function setUp() {
  const [path = ''] = writeFiles(['one.csv', linesOf(1) + LONG], ['two.csv', linesOf(2)]);
  const at = (name: string) => join(dirname(path), name);
  const run = async (...args: string[]) => {
    const context = new ScriptedContext();
    Object.defineProperty(context, 'directory', { value: dirname(path) });
    return trace(args, context);
  };
  const sample = (name: string, share: string) =>
    run('cut', `${name}.csv`, '-o', `${name}.${share}`, '--sample', share);
  return { at, run, sample };
}

describe('tmem trace, of samples', () => {
  const mixtures: [string, string[]][] = [
    ['merge', ['one.10%', 'two.csv']],
    ['merge', ['one.10%', 'two.20%']],
    ['convert', ['one.10%', 'two.20%']],
    ['cut', ['one.10%', 'two.20%', '--sample', '1%']],
  ];
  it.each(mixtures)('%s refuses those of other shares: %j', async (verb, args) => {
    const { at, run, sample } = setUp();
    await sample('one', '10%');
    await sample('two', '20%');
    await expect(run(verb, ...args, '-o', 'x')).rejects.toThrow(
      /^one\.10% has 10% of the pages and two\.\w+%? (100|20)%, .*\(tmem trace cut --sample 10%\)$/,
    );
    expect(existsSync(at('x'))).toBe(false);
    // What it says to do is enough.
    await sample('two', '10%');
    expect(await run('merge', 'one.10%', 'two.10%', '-o', 'x')).toBe(0);
  });

  it('takes a smaller sample of one file that is one, and it is part of the other', async () => {
    const { at, run, sample } = setUp();
    await sample('one', '50%');
    await sample('one', '20%');
    await run('cut', 'one.50%', '-o', 'part', '--sample', '20%');
    const [part, direct] = [await readFiles([at('part')]), await readFiles([at('one.20%')])];
    expect(part.requests).toEqual(direct.requests);
    expect(part.trace).toMatchObject({
      sampleRate: direct.trace.sampleRate,
      isMergedSample: false,
    });
  });

  it('takes none of several, nor of what was made from several', async () => {
    const { at, run, sample } = setUp();
    for (const name of ['one', 'two']) await sample(name, '50%');
    const part = (...names: string[]) => run('cut', ...names, '-o', 'x', '--sample', '10%');
    await expect(part('one.50%', 'two.50%')).rejects.toThrow(
      /^--sample: one\.50% and the others are samples, .*; cut each of them alone, then merge/,
    );
    for (const [verb, ...args] of [
      ['merge'],
      ['convert'],
      ['cut', '--op', 'read,write'],
    ] as const) {
      await run(verb, 'two.50%', 'one.50%', '-o', verb, ...args);
      // Whatever it becomes, it stays what it is.
      await run('convert', verb, '-o', `${verb}.again`);
      await expect(part(`${verb}.again`)).rejects.toThrow(
        /again was put together from samples, .*; cut each of those alone, then merge them/,
      );
      const { trace: made } = await readFiles([at(`${verb}.again`)]);
      expect(made).toMatchObject({ sampleRate: 0.5, isMergedSample: true });
    }
  });

  it('puts no samples together that have different pages of a volume', async () => {
    const { at, run, sample } = setUp();
    writeFileSync(at('both.csv'), linesOf(2) + linesOf(1));
    for (const name of ['one', 'two', 'both']) await sample(name, '50%');
    for (const verb of ['merge', 'convert']) {
      await expect(run(verb, 'one.50%', 'both.50%', '-o', 'x')).rejects.toThrow(
        /samples of different pages of the volume "1", since they number it [01] and [01]; .*--prefix/,
      );
      expect(existsSync(at('x'))).toBe(false);
      // There the volume is the first as well.
      expect(await run(verb, 'two.50%', 'both.50%', '-o', verb)).toBe(0);
    }
    expect(await run('merge', '--prefix', 'one.50%', 'both.50%', '-o', 'x')).toBe(0);
  });

  it('takes one of several that are none', async () => {
    const { at, run } = setUp();
    await run('cut', 'one.csv', 'two.csv', '-o', 'x', '--sample', '50%');
    expect((await readFiles([at('x')])).trace).toMatchObject({ isMergedSample: false });
    expect(await run('cut', 'x', '-o', 'y', '--sample', '25%')).toBe(0);
  });

  it('gives the part of a request the part of its compressed size', async () => {
    const { at, run } = setUp();
    const columns = 'time_us,volume,op,offset,length,latency_us,content_bytes';
    writeFileSync(at('sized.csv'), `${columns}\n0,disk,write,0,16777216,0,8388608\n`);
    await run('cut', 'sized.csv', '-o', 'x', '--sample', '50%');
    let [length, content] = [0, 0];
    for await (const batch of (await readFiles([at('x')])).trace.batches()) {
      length += batch.length.subarray(0, batch.count).reduce((sum, bytes) => sum + bytes, 0);
      content += batch.contentBytes.subarray(0, batch.count).reduce((sum, bytes) => sum + bytes, 0);
    }
    expect(content / length).toBe(0.5);
  });
});

test('a share is told in as few digits as choose the same pages', () => {
  expect([0.1, 0.25, 1, 1 / 3].map(shareText)).toEqual(['10%', '25%', '100%', '33.33333333%']);
  for (let threshold = 1; threshold < 2 ** 32; threshold = Math.ceil(threshold * 1.37)) {
    const text = shareText(threshold / 2 ** 32);
    expect(sampleThresholdOf(Number(text.slice(0, -1)) / 100)).toBe(threshold);
  }
});
