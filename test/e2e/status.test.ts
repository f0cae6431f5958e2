import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { ServiceStatus } from '../../src/admin/api.ts';
import { ENTER_SCREEN, LEAVE_SCREEN } from '../../src/cli/terminal/screen.ts';
import { leaveOutWithout, needsPrograms, PROGRAM_PATH, runWell } from '../tools/programs.ts';
import { runTmem, startServer, TMEM } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('nbdcopy');

const SIZE = 16 * MIB;

/** A service with an image that was read twice, so that it has something to tell. */
async function startRead() {
  const directory = workspace();
  const admin = `unix:${path.join(directory, 'admin.sock')}`;
  const image = makeImage(directory, SIZE);
  const server = await startServer(directory, [image, '--memory', '64MiB', '--admin', admin]);
  for (let i = 0; i < 2; i++) await runWell('nbdcopy', [server.uri(), 'null:']);
  return { server, admin, image };
}

/** A program that goes on printing; it is gone after the test. */
class Watched {
  readonly ended: Promise<number | null>;
  #text = '';
  #look: () => void = () => undefined;
  readonly #child: ChildProcess;

  constructor(program: string, args: readonly string[]) {
    this.#child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, PATH: PROGRAM_PATH, TERM: 'xterm' },
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#text += text;
        this.#look();
      });
    }
    this.ended = new Promise((resolve) => this.#child.once('close', resolve));
    onTestFinished(() => {
      this.#child.kill('SIGKILL');
    });
  }

  get text(): string {
    return this.#text;
  }

  /** Resolves when all it printed so far satisfies `isEnough`; the test's own time limit holds. */
  until(isEnough: (text: string) => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#look = () => {
        if (isEnough(this.#text)) resolve();
      };
      this.#look();
    });
  }

  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  interrupt(): void {
    this.#child.kill('SIGINT');
  }
}

test('tmem status tells what clients did to a service', async () => {
  const { admin, image } = await startRead();
  const { code, stdout, stderr } = await runTmem(['status', '--admin', admin, '--json']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const status = JSON.parse(stdout) as ServiceStatus;
  expect(status.exports).toMatchObject([
    { name: 'disk.raw', mode: 'writethrough', sizeBytes: SIZE, image, writeBack: null },
  ]);
  expect(status.exports[0]?.reads.hits).toBeGreaterThan(0);
  expect(status.memory).toMatchObject({ configuredLimitBytes: 64 * MIB });

  const shown = (await runTmem(['status', '--admin', admin])).stdout;
  expect(shown).toMatch(/^tmem \d.* at unix:.*admin\.sock, up .*, 0 connections, /);
  expect(shown).toMatch(/^memory +[█▓▒░]{40} {2}.* of 64MiB$/m);
  expect(shown).toMatch(/^disk\.raw {2}writethrough, 16MiB, [1-9][\d,]* pages cached$/m);
  expect(shown).toMatch(/^ {2}hits +[█▏▎▍▌▋▊▉░]{40} {2}\d+\.\d %$/m);
  expect(shown).toMatch(/^ {2}memory +[█▏▎▍▌▋▊▉░]{40} {2}\S+iB {2}[1-9]\.\d\d× compressed$/m);
});

test('tmem status --watch follows a service, also over its end, until SIGINT', async () => {
  const { server, admin } = await startRead();
  const args = [TMEM, 'status', '--watch=0.1', '--json', '--admin', admin];
  const watched = new Watched(process.execPath, args);
  await watched.until((text) => text.split('\n').length > 3);
  await runWell('nbdcopy', [server.uri(), 'null:']);
  const readsOf = (line: string) => (JSON.parse(line) as ServiceStatus).exports[0]?.reads.hits;
  const lines = () => watched.text.split('\n').filter((line) => line.startsWith('{'));
  const before = readsOf(lines()[0] ?? '') ?? 0;
  await watched.until(() => (readsOf(lines().at(-2) ?? '{"exports":[]}') ?? 0) > before);
  await server.stop();
  await watched.until((text) => /tmem: cannot reach .*; trying again\n/.test(text));
  watched.interrupt();
  expect(await watched.ended).toBe(0);
});

test('tmem status --watch on a terminal redraws it, and Ctrl-C gives it back', async ({ skip }) => {
  leaveOutWithout(skip, 'script');
  const { admin } = await startRead();
  // In the shell's place: Ctrl-C goes to everything on the terminal, and a waiting dash dies of it.
  const words = ['exec', process.execPath, TMEM, 'status', '--watch=0.1', '--admin', admin];
  const watched = new Watched('script', ['-qec', words.join(' '), '/dev/null']);
  await watched.until((text) => text.split('\u001b[H').length > 3);
  watched.type('\u0003');
  expect(await watched.ended).toBe(0);
  const drawn = watched.text.slice(watched.text.indexOf(ENTER_SCREEN));
  expect(drawn.trimEnd().endsWith(LEAVE_SCREEN)).toBe(true);
  expect(drawn).toContain('disk.raw');
});

test('tmem status | head ends when head does', async () => {
  const { admin } = await startRead();
  const line = `"$0" "$1" status --watch=0.1 --json --admin "$2" | head -n 1; echo \${PIPESTATUS[0]}`;
  const out = await runWell('bash', ['-c', line, process.execPath, TMEM, admin]);
  expect(out.split('\n')).toEqual([expect.stringMatching(/^\{/), '0', '']);
});

test('tmem status of a service that is not there says what to start', async () => {
  const { code, stdout, stderr } = await runTmem(['status', '--admin', 'unix:/none/admin.sock']);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toMatch(/^tmem: cannot reach .*; start it with tmem serve, or name .*\n$/);
});
