/** Where a command prints: stdout and stderr, each opened when it is first needed. */

import { write } from 'node:fs';
import { Writable } from 'node:stream';
import { isatty } from 'node:tty';
import { TmemError } from '../../lib/errors.ts';
import { type Terminal, terminalOf } from '../terminal/screen.ts';

const STDOUT_FD = 1;
const STDERR_FD = 2;

/** What stderr may owe a reader that does not read; the rest is not said. */
const UNREAD_BYTES_MAX = 1024 * 1024;

/** How long to wait before a full pipe is tried again that makes nobody wait, milliseconds. */
const FULL_PIPE_MS = 5;

/** Someone watches stderr. This asks the descriptor; a stream would already change it. */
export function isStderrTerminal(): boolean {
  return isatty(STDERR_FD);
}

/** A pipe takes 64 KiB at once, and the rest when its reader has read that; the process must wait. */
function written(stream: NodeJS.WriteStream | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (stream === undefined || stream.writableLength === 0) resolve();
    // Behind what is under way, or after its failure.
    else stream.write('', () => resolve());
  });
}

export class StandardStreams {
  readonly #gone = new AbortController();
  #stdout: NodeJS.WriteStream | undefined;
  #stderr: NodeJS.WriteStream | undefined;
  #terminal: Terminal | undefined;

  /** What stdout is drawn on; undefined for a file or a pipe. */
  get terminal(): Terminal | undefined {
    if (isatty(STDOUT_FD)) this.#terminal ??= terminalOf(this.#openStdout());
    return this.#terminal;
  }

  /** Aborted when the reader of stdout has gone away; by itself that is no failure. */
  get unread(): AbortSignal {
    this.#openStdout();
    return this.#gone.signal;
  }

  /**
   * Prints `text`. A reader that went away (`tmem --help | head -1`) is no failure of ours; what a full
   * disk did not take is one, which must not look like success: that throws.
   */
  stdout(text: string): void {
    const stream = this.#openStdout();
    stream.write(text);
    const failure: NodeJS.ErrnoException | null = stream.errored;
    if (failure === null || failure.code === 'EPIPE') return;
    const reason = failure.code === 'ENOSPC' ? 'its disk is full' : failure.message;
    throw new TmemError('io', `what is printed cannot be written to stdout: ${reason}`, {
      cause: failure,
    });
  }

  stderr(text: string): void {
    if (this.#stderr === undefined) {
      this.#stderr = process.stderr;
      // A log on a full disk, or on a terminal that was closed, ends no service.
      this.#stderr.on('error', () => undefined);
    }
    if (this.#stderr.writableLength <= UNREAD_BYTES_MAX) this.#stderr.write(text);
  }

  /** Resolves when all that was printed is out, or nobody reads it any more. */
  async printed(): Promise<void> {
    await written(this.#stdout);
    await written(this.#stderr);
  }

  #openStdout(): NodeJS.WriteStream {
    if (this.#stdout === undefined) {
      this.#stdout = process.stdout;
      this.#stdout.on('error', () => this.#gone.abort());
    }
    return this.#stdout;
  }
}

/** Writes all of `bytes`, as a thread does that may wait for a slow reader; the event loop does not. */
function writeAll(fd: number, bytes: Buffer, done: (failure: Error | null) => void): void {
  write(fd, bytes, (cause, count) => {
    if (cause !== null && cause.code !== 'EAGAIN') return done(cause);
    const rest = bytes.subarray(count ?? 0);
    if (cause !== null) setTimeout(() => writeAll(fd, rest, done), FULL_PIPE_MS);
    else if (rest.length > 0) writeAll(fd, rest, done);
    else done(null);
  });
}

/** A stream that leaves the flags of its descriptor alone. */
function sharedStream(fd: number): Writable {
  return new Writable({ write: (chunk, _encoding, done) => writeAll(fd, chunk, done) });
}

/**
 * Has the process share stdout and stderr with whoever started it and goes on writing to them, as a
 * tool that runs this server for itself does (`nbdcopy -- [ tmem serve disk.raw ] - | …`). O_NONBLOCK
 * is of a pipe, not of a process: Node's streams set it, and the tool would fail with EAGAIN as soon
 * as the pipe is full. It is the process's own streams that are replaced, since Node opens stderr
 * whenever it destroys a socket.
 */
export function shareStandardStreams(): void {
  const streams = { stdout: sharedStream(STDOUT_FD), stderr: sharedStream(STDERR_FD) };
  for (const [name, value] of Object.entries(streams)) {
    Object.defineProperty(process, name, { configurable: true, enumerable: true, value });
  }
}
