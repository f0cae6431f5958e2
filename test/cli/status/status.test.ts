import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import type { Clock } from '../../../src/cli/command/clock.ts';
import { main } from '../../../src/cli/main.ts';
import { status } from '../../../src/cli/status/status.ts';
import { ENTER_SCREEN, LEAVE_SCREEN, type Terminal } from '../../../src/cli/terminal/screen.ts';
import { availableMemory } from '../../../src/config/available-memory.ts';
import { resolveConfig } from '../../../src/config/effective.ts';
import { DEFAULT_ADMIN_ADDRESS, formatListenAddress } from '../../../src/lib/listen-address.ts';
import { problem, ScriptedAdmin } from '../scripted-admin.ts';
import { ScriptedContext } from '../scripted-context.ts';
import { exportStatus, serviceStatus } from '../statuses.ts';

/** A terminal of a size that a test changes. */
class ScriptedTerminal implements Terminal {
  columns = 80;
  rows = 40;
  listeners = new Set<() => void>();

  size() {
    return { columns: this.columns, rows: this.rows };
  }

  onResize(listener: () => void) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** Pauses end at once, each after the next of `steps`; after the last one comes Ctrl-C. */
class ScriptedClock implements Clock {
  readonly pauses: number[] = [];
  readonly #context: ScriptedContext;
  readonly #steps: (() => unknown)[];
  #nowMs = 0;

  constructor(context: ScriptedContext, ...steps: (() => unknown)[]) {
    this.#context = context;
    this.#steps = steps;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  async pause(ms: number): Promise<void> {
    this.pauses.push(ms);
    this.#nowMs += ms;
    const step = this.#steps.shift();
    if (step === undefined) this.#context.signals.emit('SIGINT', 'SIGINT');
    else await step();
  }
}

let context = new ScriptedContext();
let hits = 0;

beforeEach(() => {
  context = new ScriptedContext();
  hits = 0;
});

/** A service of which every look finds 10 reads more, all from memory. */
function startAdmin() {
  return ScriptedAdmin.start({
    'GET /v1/status': () => {
      hits += 10;
      return { json: serviceStatus({ exports: [exportStatus({ reads: { hits, misses: 10 } })] }) };
    },
  });
}

async function watch(admin: ScriptedAdmin, args: string[], ...steps: (() => unknown)[]) {
  const clock = new ScriptedClock(context, ...steps);
  const code = await status(['--admin', admin.address, ...args], context, clock);
  return { code, clock };
}

const NONE = () => undefined;

test('status prints once, without colours where there is no terminal', async () => {
  const admin = await startAdmin();
  expect(await main(['status', '--admin', admin.address], context)).toBe(0);
  expect(admin.asked).toEqual(['GET /v1/status']);
  expect(context.out).toMatch(/^tmem 1\.2\.3 at unix:.*\n\nmemory (.*\n)+$/);
  expect(context.out).not.toContain('\u001b');
  expect(context.err).toBe('');
});

test.each([
  [{}, true],
  [{ NO_COLOR: '' }, true],
  [{ NO_COLOR: '1' }, false],
  [{ TERM: 'dumb' }, false],
])('status on a terminal with %j has colours: %s', async (env, isColoured) => {
  const admin = await startAdmin();
  Object.assign(context.env, env);
  context.terminal = new ScriptedTerminal();
  await status(['--admin', admin.address], context);
  expect(context.out.includes('\u001b[1m')).toBe(isColoured);
  expect(context.out).not.toContain(ENTER_SCREEN);
});

test('status --json is the status as the service gave it, in one line', async () => {
  const admin = await startAdmin();
  await status(['--json', '--admin', admin.address], context);
  expect(context.out.split('\n')).toEqual([expect.any(String), '']);
  expect(JSON.parse(context.out)).toEqual(
    serviceStatus({ exports: [exportStatus({ reads: { hits: 10, misses: 10 } })] }),
  );
});

test('status --watch elsewhere prints blocks with what is now, until it is interrupted', async () => {
  const { code, clock } = await watch(await startAdmin(), ['--watch=2.5'], NONE);
  expect(code).toBe(0);
  expect(clock.pauses).toEqual([2500, 2500]);
  const blocks = context.out.split(/\n(?=tmem )/);
  expect(blocks).toHaveLength(2);
  expect(blocks[0]).toMatch(/hits .* 50\.0 %$/m);
  expect(blocks[1]).toMatch(/hits .* 66\.7 % {2}now 100\.0 % {2}4\/s read$/m);
});

test('status --watch --json prints a line for each look', async () => {
  await watch(await startAdmin(), ['--watch', '--json'], NONE, NONE);
  const lines = context.out.trimEnd().split('\n');
  expect(lines.map((line) => JSON.parse(line).exports[0].reads.hits)).toEqual([10, 20, 30]);
});

test('status --watch draws a terminal in place and gives it back', async () => {
  const terminal = new ScriptedTerminal();
  context.terminal = terminal;
  await watch(await startAdmin(), ['--watch'], () => {
    terminal.columns = 50;
    for (const listener of terminal.listeners) listener();
  });
  expect(context.out.startsWith(ENTER_SCREEN)).toBe(true);
  expect(context.out.endsWith(LEAVE_SCREEN)).toBe(true);
  const frames = context.out.split('\u001b[H').slice(1);
  expect(frames).toHaveLength(3);
  expect(frames[1]).toContain('…');
  expect(terminal.listeners.size).toBe(0);
});

test('status --watch on a terminal that is too low says what is missing', async () => {
  const terminal = new ScriptedTerminal();
  terminal.rows = 5;
  context.terminal = terminal;
  context.env.NO_COLOR = '1';
  await watch(await startAdmin(), ['--watch']);
  const lines = context.out.split('\r\n');
  expect(lines).toHaveLength(5);
  expect(lines[4]).toMatch(/… and \d+ more lines/);
});

test('a second signal while watching gives the terminal back before it ends', async () => {
  context.terminal = new ScriptedTerminal();
  await watch(await startAdmin(), ['--watch'], () => {
    for (let i = 0; i < 2; i++) context.signals.emit('SIGINT', 'SIGINT');
    expect(context.out.endsWith(LEAVE_SCREEN)).toBe(true);
  });
  expect(context.exitCodes).toEqual([130]);
  expect(context.out.split(LEAVE_SCREEN)).toHaveLength(2);
});

test('status --watch ends when nobody reads what it prints', async () => {
  const { code } = await watch(await startAdmin(), ['--watch'], () =>
    context.unreadController.abort(),
  );
  expect(code).toBe(0);
  expect(context.out.split('tmem 1.2.3')).toHaveLength(2);
});

test('a service that is lost while it is watched is waited for', async () => {
  const admin = await startAdmin();
  const lose = () => admin.close();
  const { code } = await watch(admin, ['--watch'], lose, NONE, () => admin.listen(), NONE);
  expect(code).toBe(0);
  expect(context.out.split('tmem 1.2.3')).toHaveLength(4);
  expect(context.err.split('\n')).toEqual([
    expect.stringMatching(/^tmem: cannot reach a tmem service at unix:.*; trying again$/),
    'tmem: the service is back',
    '',
  ]);
});

test('a lost service is told on the terminal above its last state', async () => {
  const admin = await startAdmin();
  context.terminal = new ScriptedTerminal();
  await watch(admin, ['--watch'], () => admin.close());
  const frames = context.out.split('\u001b[H');
  expect(frames.at(-1)).toMatch(/trying again: cannot reach.*disk\.raw/s);
  expect(context.err).toBe('');
});

test('a service that is not there at first is an error, and the terminal is left alone', async () => {
  const admin = await startAdmin();
  await admin.close();
  context.terminal = new ScriptedTerminal();
  expect(await main(['status', '--watch', '--admin', admin.address], context)).toBe(1);
  expect(context.out).toBe('');
  expect(context.err).toMatch(/^tmem: cannot reach .*start it with tmem serve.*\n$/);
});

test.each([
  [problem(500, 'the service made a mistake'), 1, /^tmem: the service made a mistake\n$/],
  [problem(403, 'x is not this machine'), 2, /^tmem: x is not this machine\n$/],
  [{ json: { status: 'ok' } }, 2, /is not the admin API of this version of tmem/],
])('status with the answer %j exits with its code', async (answer, code, sentence) => {
  const admin = await ScriptedAdmin.start({ 'GET /v1/status': answer });
  expect(await main(['status', '--admin', admin.address], context)).toBe(code);
  expect(context.err).toMatch(sentence);
});

test.each([
  [['--watch=0'], '--watch: "0" is not a time to wait; give 0.1 to 3600 seconds'],
  [['--watch=soon'], '--watch: "soon" is not a time to wait; give 0.1 to 3600 seconds'],
  [['5'], 'tmem status takes options only, not "5"; see its --help'],
  [['--wacth'], 'there is no option --wacth; did you mean --watch?'],
  [
    ['--admin', 'none'],
    '--admin: "none" is not an address; write unix:PATH or HOST:PORT, as 127.0.0.1:9842',
  ],
  [['--token-file', 'none'], 'cannot read the token in /srv/none: there is no such file'],
  [['--token-file', '/'], 'cannot read the token in /: it is a directory; name a file'],
])('status refuses %j in one sentence', async (args, sentence) => {
  expect(await main(['status', ...args], context)).toBe(2);
  expect(context.err).toContain(`tmem: ${sentence}`);
});

test('the token is that of the file, or else of TMEM_TOKEN', async () => {
  const admin = await startAdmin();
  const directory = mkdtempSync(join(tmpdir(), 'tmem-token-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'token');
  writeFileSync(file, 'of-the-file\n');
  context.env.TMEM_TOKEN = 'of-the-environment';
  await status(['--admin', admin.address], context);
  await status(['--admin', admin.address, '--token-file', file], context);
  expect(admin.questions.map(({ headers }) => headers.authorization)).toEqual([
    'Bearer of-the-environment',
    'Bearer of-the-file',
  ]);
  writeFileSync(file, 'two words\n');
  await expect(status(['--token-file', file], context)).rejects.toThrow(/holds no token/);
  await expect(status(['--token-file', directory], context)).rejects.toThrow(/cannot read/);
});

test('the address that is asked without --admin is that of tmem serve without --admin', () => {
  const { admin } = resolveConfig({}, {}, { memory: availableMemory(), isActivated: false });
  expect(admin && formatListenAddress(admin)).toBe(`tcp:${DEFAULT_ADMIN_ADDRESS}`);
});
