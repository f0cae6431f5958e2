import { expect, test } from 'vitest';
import { EXIT_CODE_BY_KIND } from '../../src/cli/command/exit-codes.ts';
import { main } from '../../src/cli/main.ts';
import { ScriptedContext } from './scripted-context.ts';

async function run(...args: string[]) {
  const context = new ScriptedContext();
  return { code: await main(args, context), out: context.out, err: context.err };
}

test.each([
  [['--help'], /^Usage: tmem COMMAND/],
  [['-h'], /^Usage: tmem COMMAND/],
  [['help'], /^Usage: tmem COMMAND/],
  [['help', 'serve'], /^Usage: tmem serve/],
  [['serve', '--help'], /^Usage: tmem serve/],
  [['--version'], /^tmem \d+\.\d+\.\d+\n$/],
  [['serve', '-V'], /^tmem \d+\.\d+\.\d+\n$/],
])('main answers %j on stdout and exits 0', async (args, text) => {
  expect(await run(...args)).toEqual({ code: 0, out: expect.stringMatching(text), err: '' });
});

test.each([
  [[], 'no command was given; try tmem serve, or tmem --help'],
  [['sevre'], 'there is no command "sevre"; did you mean tmem serve?'],
  [['disk.raw'], 'there is no command "disk.raw"; see tmem --help'],
  [['a\nb\u001b[2J'], 'there is no command "a\ufffdb\ufffd[2J"; see tmem --help'],
  [['--verison'], 'there is no option --verison; did you mean --version?'],
  [['serve', '--memroy=1'], 'there is no option --memroy; did you mean --memory?'],
  [['serve', '--memory', '1MiB'], 'memory is 1MiB; it must be at least 32MiB'],
  [
    ['serve', '--config', 'a'],
    'cannot read the configuration file /srv/a: there is no such file; check the path',
  ],
  [
    ['image', 'compare', 'a\nb', 'c'],
    'cannot open "/srv/a\ufffdb": there is no such file; check the path',
  ],
])('main refuses %j in one sentence on stderr and exits 2', async (args, sentence) => {
  expect(await run(...args)).toEqual({ code: 2, out: '', err: `tmem: ${sentence}\n` });
});

test.each(['--version', 'sevre'])('main %s answers when what it printed is out', async (name) => {
  const context = new ScriptedContext();
  let isRead = (): void => undefined;
  context.read = new Promise((resolve) => {
    isRead = resolve;
  });
  let isDone = false;
  const done = main([name], context).then(() => {
    isDone = true;
  });
  await new Promise(setImmediate);
  expect(isDone).toBe(false);
  isRead();
  await done;
});

test('every kind of error has an exit code that is not success', () => {
  expect(new Set(Object.values(EXIT_CODE_BY_KIND))).toEqual(new Set([1, 2]));
});
