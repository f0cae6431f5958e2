/** What a command sees of the process around it, so that a test can put another around it. */

import { isAbsolute, join } from 'node:path';
import { bindEndProcess, type EndProcess } from '../../lib/end-process.ts';
import { TmemError } from '../../lib/errors.ts';
import { type Terminal, terminalOf } from '../terminal/screen.ts';
import { printable } from '../terminal/table.ts';
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
export function fullPath(path: string, { directory }: CliContext): string {
  return isAbsolute(path) ? path : join(directory, path);
}

/** Whoever goes on printing can know that the reader has gone; by itself that is no failure. */
function watchReader(stream: NodeJS.WriteStream): AbortSignal {
  const gone = new AbortController();
  stream.on('error', () => gone.abort());
  return gone.signal;
}

/**
 * Prints `text`. A reader that went away (`tmem --help | head -1`) is no failure of ours; what a full
 * disk did not take is one, which must not look like success: that throws.
 */
function print(text: string): void {
  process.stdout.write(text);
  const failure: NodeJS.ErrnoException | null = process.stdout.errored;
  if (failure === null || failure.code === 'EPIPE') return;
  const reason = failure.code === 'ENOSPC' ? 'its disk is full' : failure.message;
  throw new TmemError('io', `what is printed cannot be written to stdout: ${reason}`, {
    cause: failure,
  });
}

/** A pipe takes 64 KiB at once, and the rest when its reader has read that; the process must wait. */
function written(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.writableLength === 0) resolve();
    // Behind what is under way, or after its failure.
    else stream.write('', () => resolve());
  });
}

/** The context of the real process. */
export function processContext(): CliContext {
  // A log on a full disk, or on a terminal that was closed, ends no service.
  process.stderr.on('error', () => undefined);
  // Node waits for its threads. What a service prints is out: it is less than a pipe takes at once.
  let end: EndProcess = (code) => process.exit(code);
  return {
    env: process.env,
    directory: process.cwd(),
    pid: process.pid,
    isTerminal: process.stderr.isTTY,
    terminal: process.stdout.isTTY ? terminalOf(process.stdout) : undefined,
    unread: watchReader(process.stdout),
    stdout: print,
    stderr: (text) => process.stderr.write(text),
    printed: async () => {
      await written(process.stdout);
      await written(process.stderr);
    },
    watchStopSignals: () => watchStopSignals(process),
    prepareExit: async () => {
      end = (await bindEndProcess()) ?? end;
    },
    isInSystemCall: () => process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq')),
    exit: (code) => end(code),
  };
}
