/** The program as it is installed: `bin/tmem.cjs` and what `npm run build` made. */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

const BIN = join(import.meta.dirname, '../../bin/tmem.cjs');
let directory = '';

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tmem-cli-'));
  writeFileSync(join(directory, 'disk.raw'), Buffer.alloc(65_536));
  writeFileSync(join(directory, 'empty.raw'), '');
  writeFileSync(join(directory, 'odd.raw'), 'odd');
  writeFileSync(join(directory, 'typo.yaml'), 'memory: 64MiB\nlissten: []\n');
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Runs the program, which must end by itself. */
function run(bin: string, ...args: string[]) {
  const options = { cwd: directory, encoding: 'utf8', timeout: 30_000 } as const;
  const { status, stdout, stderr } = spawnSync(bin, args, options);
  return { status, stdout, stderr };
}

test.each([
  [['--help'], /^Usage: tmem COMMAND/],
  [['serve', '--help'], /^Usage: tmem serve/],
  [['--version'], /^tmem \d+\.\d+\.\d+\n$/],
  [['serve', '--version'], /^tmem \d+\.\d+\.\d+\n$/],
  [['serve', '--print-config'], /^exports: \[\]\n(?:.*\n)*memory: \d+MiB\n/],
])('tmem %j prints and exits 0', (args, text) => {
  const stdout = expect.stringMatching(text);
  expect(run(BIN, ...args)).toEqual({ status: 0, stdout, stderr: '' });
});

test('a replay on threads says what one on none says', () => {
  const lines = Array.from(
    { length: 2000 },
    (_, i) => `${i},v,${((i * i) % 611) * 4096},4096\n`,
  ).join('');
  writeFileSync(join(directory, 'squares.csv'), `time_us,volume,offset,length\n${lines}`);
  // A machine that is busy would say how far it is, at one of them and not at the other.
  const options = ['--json', '--progress', 'off'];
  const replay = (threads: string) =>
    run(BIN, 'replay', 'squares.csv', ...options, '--threads', threads);
  const onTwo = replay('2');
  expect(onTwo).toMatchObject({ status: 0, stdout: expect.stringContaining('"policy":"s3fifo"') });
  expect(onTwo).toEqual(replay('0'));
});

test('what is longer than a pipe takes at once is printed to its end', () => {
  const lines = Array.from({ length: 5000 }, (_, i) => `${i},volume-${i},0,4096\n`).join('');
  writeFileSync(join(directory, 'many.csv'), `time_us,volume,offset,length\n${lines}`);
  const { status, stdout } = run('sh', '-c', '"$0" trace info --json many.csv | cat', BIN);
  expect(status).toBe(0);
  expect(JSON.parse(stdout).volumes).toHaveLength(5000);
  expect(run('sh', '-c', '"$0" trace info --json many.csv | head -c 9', BIN)).toEqual({
    ...{ status: 0, stdout: '{"files":', stderr: '' },
  });
});

test.each([
  [['sevre'], /did you mean tmem serve\?/],
  [['serve', '--sise', '1'], /no option --sise/],
  [['serve', '--memory', 'much'], /--memory: "much" is not a size/],
  [['serve', '--config', 'typo.yaml'], /typo.yaml:2: unknown key lissten; did you mean listen\?/],
  [['serve', 'none.raw'], /none.raw.*no such file/],
  [['serve', 'empty.raw'], /empty.raw.*empty/],
  [['serve', 'odd.raw'], /odd.raw.*512/],
  [['serve', '.'], /directory/],
  [['serve', 'disk.raw', 'disk.raw'], /NAME=IMAGE/],
  [['serve', 'disk.raw', '--listen', 'unix:none/sock'], /none\/sock/],
])('tmem %j says what is wrong in one line and exits 2', (args, sentence) => {
  const result = run(BIN, ...args);
  expect(result).toMatchObject({ status: 2, stdout: '' });
  expect(result.stderr).toMatch(sentence);
  expect(result.stderr).toMatch(/^tmem: .*\n$/);
});

test('tmem says when a full disk does not take what it prints, and exits 1', () => {
  const full = openSync('/dev/full', 'w');
  const result = spawnSync(BIN, ['--help'], {
    stdio: ['ignore', full, 'pipe'],
    encoding: 'utf8',
    timeout: 30_000,
  });
  closeSync(full);
  expect(result.status).toBe(1);
  expect(result.stderr).toBe(
    'tmem: what is printed cannot be written to stdout: its disk is full\n',
  );
});

test('tmem serve goes on when a full disk does not take its log', async () => {
  const full = openSync('/dev/full', 'w');
  const args = ['serve', 'disk.raw', '--listen', 'unix:log.sock', '--admin', 'none', '--verbose'];
  const child = spawn(BIN, args, { cwd: directory, stdio: ['ignore', 'pipe', full] });
  closeSync(full);
  const ended = once(child, 'exit');
  if (child.stdout === null) throw new Error('it has no stdout');
  await once(child.stdout, 'data'); // by then it has told something on stderr
  child.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
});

test('tmem serve at a port in use says so and exits 2', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  try {
    const address = other.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const result = run(BIN, 'serve', 'disk.raw', '--listen', `tcp:127.0.0.1:${port}`);
    expect(result).toMatchObject({ status: 2, stdout: '' });
    expect(result.stderr).toMatch(/^tmem: .*in use.*\n$/);
  } finally {
    await new Promise((resolve) => other.close(resolve));
  }
});

test('tmem works through a link, as npm installs it', () => {
  symlinkSync(BIN, join(directory, 'tmem'));
  expect(run(join(directory, 'tmem'), '--version').status).toBe(0);
});

test('tmem that has not been built says how to build it', () => {
  mkdirSync(join(directory, 'unbuilt'));
  cpSync(BIN, join(directory, 'unbuilt', 'tmem.cjs'));
  const { status, stderr } = run(join(directory, 'unbuilt', 'tmem.cjs'), '--help');
  expect(status).toBe(2);
  expect(stderr).toBe('tmem: it has not been built yet; run `npm run build`\n');
});
