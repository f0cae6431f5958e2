/** What a command sees of the process around it, so that a test can put another around it. */

import { isAbsolute, join } from 'node:path';
import { TmemError } from '../../lib/errors.ts';
import type { Terminal } from '../terminal/screen.ts';
import { printable } from '../terminal/table.ts';
import { bindEndProcess, type EndProcess } from './end-process.ts';
import { isStderrTerminal, StandardStreams, shareStandardStreams } from './standard-streams.ts';
import { type StopSignals, watchStopSignals } from './stop-signals.ts';

export interface CliContext {
  readonly env: Record<string, string | undefined>;
  /** The directory that relative paths on the command line start from. */
  readonly directory: string;
  readonly pid: number;
  /** Someone watches stderr, so progress may redraw its line. */
  readonly isTerminal: boolean;
  /** What stdout is drawn on; undefined for a file or a pipe. */
  readonly terminal: Terminal | undefined;
  /** Aborted when the reader of stdout has gone away: what goes on printing has to end. */
  readonly unread: AbortSignal;
  stdout(text: string): void;
  stderr(text: string): void;
  /** Resolves when all that was printed is out, or nobody reads it any more. */
  printed(): Promise<void>;
  watchStopSignals(): StopSignals;
  /** Has `exit` not wait for threads, where the system's way to that can be called. */
  prepareExit(): Promise<void>;
  /** A thread is in a call to the system, as it is for good where a disk hangs. */
  isInSystemCall(): boolean;
  /** Ends the process at once. */
  exit(code: number): void;
}

/** Tells the user one sentence on stderr: one line, whatever names of files are in it. */
export function tell(context: Pick<CliContext, 'stderr'>, sentence: string): void {
  context.stderr(`tmem: ${printable(sentence)}\n`);
}

/** A path on the command line as one from the root. */
export function fullPath(path: string, context: Pick<CliContext, 'directory'>): string {
  // Asked for only where it is needed: it may be gone.
  return isAbsolute(path) ? path : join(context.directory, path);
}

/** Where relative paths start. Throws a TmemError where the directory was deleted meanwhile. */
function currentDirectory(): string {
  try {
    return process.cwd();
  } catch (cause) {
    const sentence = 'the current directory is gone; change to another one, or give full paths';
    throw new TmemError('not-found', sentence, { cause });
  }
}

/** Listening sockets were handed over: by somebody who has the same standard streams. */
function isActivated(env: CliContext['env'], pid: number): boolean {
  return env.LISTEN_FDS !== undefined && Number(env.LISTEN_PID) === pid;
}

/** The context of the real process. */
export function processContext(): CliContext {
  const { env } = process;
  if (isActivated(env, process.pid)) shareStandardStreams();
  const streams = new StandardStreams();
  // Node waits for its threads. What a service prints is out: it is less than a pipe takes at once.
  let end: EndProcess = (code) => process.exit(code);
  return {
    env,
    get directory() {
      return currentDirectory();
    },
    pid: process.pid,
    isTerminal: isStderrTerminal(),
    get terminal() {
      return streams.terminal;
    },
    get unread() {
      return streams.unread;
    },
    stdout: (text) => streams.stdout(text),
    stderr: (text) => streams.stderr(text),
    printed: () => streams.printed(),
    watchStopSignals: () => watchStopSignals(process),
    prepareExit: async () => {
      end = (await bindEndProcess()) ?? end;
    },
    isInSystemCall: () => process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq')),
    exit: (code) => end(code),
  };
}
