/** What a command sees of the process around it, so that a test can put another around it. */

import { type Terminal, terminalOf } from './screen.ts';
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
  watchStopSignals(): StopSignals;
  /** Ends the process at once. */
  exit(code: number): void;
}

/** A reader that went away (`tmem --help | head -1`) is no failure of ours. */
function ignoreBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}

/** The same, and who goes on printing can know. */
function watchReader(stream: NodeJS.WriteStream): AbortSignal {
  const gone = new AbortController();
  stream.on('error', (error) => {
    ignoreBrokenPipe(error);
    gone.abort();
  });
  return gone.signal;
}

/** The context of the real process. */
export function processContext(): CliContext {
  process.stderr.on('error', ignoreBrokenPipe);
  return {
    env: process.env,
    directory: process.cwd(),
    pid: process.pid,
    isTerminal: process.stderr.isTTY,
    terminal: process.stdout.isTTY ? terminalOf(process.stdout) : undefined,
    unread: watchReader(process.stdout),
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(text),
    watchStopSignals: () => watchStopSignals(process),
    exit: (code) => process.exit(code),
  };
}
