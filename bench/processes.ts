/**
 * The programs a benchmark starts. Each is ended by the id it was started with, whichever way this
 * process leaves: at the end, by an error, or by a signal.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { delimiter, join } from 'node:path';

/** How long a program may take to end after SIGTERM before it is killed. */
const GRACE_MS = 5_000;
/** Linux reports processor time in these, on every architecture Node runs on. */
const CLOCK_TICKS_PER_SECOND = 100;
const STDERR_KEPT_CHARS = 4_000;

/** Where tools are looked for; mke2fs lies in a folder that is not on every user's PATH. */
const TOOL_PATH = [process.env.PATH ?? '/usr/bin:/bin', '/usr/sbin', '/sbin'].join(delimiter);

/** What a program that ran to its end has said. */
export interface ToolOutput {
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that keeps running until it is stopped. */
export interface RunningServer {
  readonly pid: number;
  readonly command: string;
  /** Why it is not running any more, with the end of what it said; undefined while it runs. */
  whyEnded(): string | undefined;
  /** User and system time used so far, in seconds. */
  cpuSeconds(): number;
  /** Memory resident now, in bytes. */
  residentBytes(): number;
  /** Asks it to end, waits, and kills it when it does not. */
  stop(): Promise<void>;
  /** Ends it at once: what it has not written is not wanted. */
  kill(): Promise<void>;
}

/** The full path of a tool, or undefined where it is not installed. */
export function findTool(name: string): string | undefined {
  for (const folder of TOOL_PATH.split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/** Starts programs and sees to it that none outlives this process. */
export class Processes {
  readonly #children = new Set<ChildProcess>();
  /** The children that are expected to end by themselves. */
  readonly #tools = new Set<ChildProcess>();
  readonly #cleanups: (() => void)[] = [];
  readonly #servers: RunningServer[] = [];
  /** After a signal the tools' failures are its doing, and nobody wants to read of them. */
  #isLeaving = false;
  // The kernel ends the children even when this process is killed and no handler can run.
  readonly #setpriv = findTool('setpriv');

  constructor() {
    process.on('exit', () => this.#leave());
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(signal, () => {
        process.stderr.write(`\n${signal}: stopping the servers\n`);
        this.#isLeaving = true;
        for (const tool of this.#tools) killTree(tool);
        const leave = () => process.exit(128 + osConstants.signals[signal]);
        this.stopAll().then(leave, leave);
      });
    }
  }

  /** Registers what must be undone on any way out; it has to be synchronous. */
  onLeave(cleanup: () => void): void {
    this.#cleanups.push(cleanup);
  }

  /** Runs a tool to its end and returns what it wrote; a failure is an error with its words. */
  async run(command: string, args: readonly string[]): Promise<ToolOutput> {
    let stdout = '';
    const stderr = await this.#runToEnd(command, args, (chunk) => {
      stdout += chunk.toString('utf8');
    });
    return { stdout, stderr };
  }

  /** Runs a tool to its end and hands over its output as it comes. */
  async stream(
    command: string,
    args: readonly string[],
    onData: (chunk: Buffer) => void,
  ): Promise<void> {
    await this.#runToEnd(command, args, onData);
  }

  /** Starts a program that stays until it is stopped. */
  start(
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): RunningServer {
    const child = this.#spawn(command, args, env);
    child.stdout?.resume();
    const stderr = keepTail(child);
    let ending: string | undefined;
    const ended = new Promise<void>((resolve) => {
      child.once('error', (error) => {
        ending = error.message;
        resolve();
      });
      child.once('exit', (code, signal) => {
        ending = `${command} ended with ${signal ?? `code ${code}`}: ${stderr().trim()}`;
        resolve();
      });
    });
    const { pid } = child;
    if (pid === undefined) throw new Error(`cannot start ${command}: is it installed?`);
    const server: RunningServer = {
      pid,
      command: [command, ...args].join(' '),
      whyEnded: () => ending,
      cpuSeconds: () => cpuSecondsOf(pid),
      residentBytes: () => residentBytesOf(pid),
      stop: async () => {
        if (ending !== undefined) return;
        child.kill('SIGTERM');
        const kill = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
        await ended;
        clearTimeout(kill);
      },
      kill: async () => {
        child.kill('SIGKILL');
        await ended;
      },
    };
    this.#servers.push(server);
    return server;
  }

  /** Stops every server that was started. */
  async stopAll(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()));
  }

  #spawn(
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): ChildProcess {
    const bound = this.#setpriv === undefined ? [] : [this.#setpriv, '--pdeathsig', 'TERM', '--'];
    const [file = command, ...rest] = [...bound, command, ...args];
    const child = spawn(file, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, PATH: TOOL_PATH, LC_ALL: 'C', ...env },
    });
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  async #runToEnd(
    command: string,
    args: readonly string[],
    onData: (chunk: Buffer) => void,
  ): Promise<string> {
    const child = this.#spawn(command, args);
    this.#tools.add(child);
    child.once('exit', () => this.#tools.delete(child));
    const stderr = keepTail(child);
    child.stdout?.on('data', onData);
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        if (code === 0) resolve();
        else if (!this.#isLeaving) {
          const how = signal ?? `code ${code}`;
          reject(new Error(`${command} ${args.join(' ')} ended with ${how}: ${stderr().trim()}`));
        }
      });
    });
    return stderr();
  }

  #leave(): void {
    for (const child of this.#children) killTree(child);
    for (const cleanup of this.#cleanups) {
      try {
        cleanup();
      } catch {
        // The other clean-ups must still have their turn.
      }
    }
  }
}

/**
 * Kills a program and what it has started. fio's jobs are processes in sessions of their own: they
 * outlive it when it is killed, and wait for it for ever when that happens while they start.
 */
function killTree(child: ChildProcess): void {
  const descendants = child.pid === undefined ? [] : descendantsOf(child.pid);
  child.kill('SIGKILL');
  for (const pid of descendants) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}

function descendantsOf(pid: number): number[] {
  const children = childrenOf(pid);
  return [...children, ...children.flatMap(descendantsOf)];
}

function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return text.split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function keepTail(child: ChildProcess): () => string {
  let tail = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    tail = (tail + chunk.toString('utf8')).slice(-STDERR_KEPT_CHARS);
  });
  return () => tail;
}

function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is the program's name in brackets, which may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}

function residentBytesOf(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? 0) * 1024;
}
