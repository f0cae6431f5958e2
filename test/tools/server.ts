/** The built program as a user starts it, on images and a socket of the test's own. */

import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { Ended, RunOptions } from './programs.ts';
import { runProgram } from './programs.ts';

/** The program as it is installed. */
export const TMEM = path.resolve(import.meta.dirname, '../../bin/tmem.cjs');

/** What Node takes at most beside the memory it is given, as docs/configuration.md says. */
export const RUNTIME_BYTES_MAX = (process.versions.node.startsWith('20.') ? 96 : 96 + 25) * 2 ** 20;

/** The last line of what the program says when it is ready. */
const READY = /^codec .*\n/m;

const SOCKET = 'nbd.sock';

/** A server under test. */
export interface TestServer {
  readonly pid: number;
  readonly socket: string;
  /** The URI of an export; without a name, of the default one. */
  uri(name?: string): string;
  stdout(): string;
  stderr(): string;
  signal(name: NodeJS.Signals): void;
  /** Resolves when `pattern` matches what it wrote to stderr so far. */
  waitForStderr(pattern: RegExp): Promise<void>;
  /** Resolves when it has ended, whatever ended it. */
  readonly ended: Promise<Ended>;
  /** Has `stop` expect this on stderr, all of it, and this exit code; without it nothing, and 0. */
  expectAtEnd(stderr: RegExp, code?: number): void;
  /** Asks it to end, and checks that it does so as it should. */
  stop(): Promise<void>;
  /** The most memory it ever had resident, bytes. */
  residentBytesMax(): number;
}

class ServerProcess implements TestServer {
  readonly socket: string;
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  #stdout = '';
  #stderr = '';
  #isEnded = false;
  #watchers: (() => void)[] = [];
  #expected = { stderr: /^$/, code: 0 };

  constructor(child: ChildProcess, socket: string) {
    this.#child = child;
    this.socket = socket;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      this.#look();
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      this.#look();
    });
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        this.#isEnded = true;
        this.#look();
        resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr });
      });
    });
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error('the server was not started');
    return pid;
  }

  uri(name = ''): string {
    return `nbd+unix:///${name}?socket=${this.socket}`;
  }

  stdout(): string {
    return this.#stdout;
  }

  stderr(): string {
    return this.#stderr;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  waitForStderr(pattern: RegExp): Promise<void> {
    return this.#waitUntil(() => pattern.test(this.#stderr), `${pattern}`);
  }

  waitUntilReady(): Promise<void> {
    return this.#waitUntil(() => READY.test(this.#stdout), 'it was ready');
  }

  expectAtEnd(stderr: RegExp, code = 0): void {
    this.#expected = { stderr, code };
  }

  async stop(): Promise<void> {
    if (!this.#isEnded) this.signal('SIGTERM');
    const { stderr, code } = this.#expected;
    expect(await this.ended).toMatchObject({
      ...{ code, signal: null, stderr: expect.stringMatching(stderr) },
    });
  }

  residentBytesMax(): number {
    const status = fs.readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }

  /** For the end of a test: nothing is left running. */
  async finish(hasFailed: boolean): Promise<void> {
    if (this.#isEnded) return;
    if (!hasFailed) return this.stop();
    this.signal('SIGKILL');
    await this.ended;
  }

  #look(): void {
    for (const watcher of this.#watchers) watcher();
  }

  #waitUntil(isTrue: () => boolean, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (isTrue()) resolve();
        else if (this.#isEnded) reject(new Error(`tmem ended before ${what}: ${this.#stderr}`));
        else return;
        this.#watchers = this.#watchers.filter((watcher) => watcher !== look);
      };
      this.#watchers.push(look);
      look();
    });
  }
}

/** Has the kernel end the server when this process is killed and cannot do it. */
function boundToThisProcess(args: readonly string[]): readonly [string, readonly string[]] {
  const setpriv = '/usr/bin/setpriv';
  if (!fs.existsSync(setpriv)) return [process.execPath, args];
  return [setpriv, ['--pdeathsig', 'KILL', '--', process.execPath, ...args]];
}

/**
 * Starts `tmem serve` on a socket in `directory` and waits until it serves. A test that ends
 * well need not stop it: that is done, and checked, behind it.
 */
export async function startServer(
  directory: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<TestServer> {
  const socket = path.join(directory, SOCKET);
  const places = ['--listen', `unix:${socket}`, '--admin', 'none'];
  const [file, all] = boundToThisProcess([TMEM, 'serve', ...places, ...args]);
  const child = spawn(file, all, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C', ...options.env },
    cwd: directory,
  });
  const server = new ServerProcess(child, socket);
  onTestFinished(({ task }) => server.finish(task.result?.state === 'fail'));
  await server.waitUntilReady();
  return server;
}

/** Runs the program to its end. */
export function runTmem(args: readonly string[], options?: RunOptions): Promise<Ended> {
  return runProgram(process.execPath, [TMEM, ...args], options);
}
