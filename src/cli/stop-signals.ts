/**
 * SIGINT and SIGTERM: the first asks to finish and stop, the second will not wait. SIGHUP, by which a
 * terminal says that it is gone, asks as well; it may come more than once and never hurries.
 */

import type { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import { EXIT_CODE_BY_SIGNAL, type StopSignal } from './exit-codes.ts';

export interface StopSignals {
  /** Aborted by the first signal. */
  readonly first: AbortSignal;
  /** The exit code of who stops for it; undefined before. */
  readonly exitCode: number | undefined;
  /** Sets what the second signal does; it is given the exit code for it. */
  onSecond(act: (exitCode: number) => void): void;
  /** Gives the signals their default effect back. */
  dispose(): void;
}

const SIGNALS: readonly StopSignal[] = ['SIGINT', 'SIGTERM'];

/**
 * Listens for the signals that `source`, the process, emits. With `ignoresHangup` SIGHUP keeps the
 * effect that it has: none, if nohup(1) started the process.
 */
export function watchStopSignals(source: EventEmitter, ignoresHangup = false): StopSignals {
  const first = new AbortController();
  let firstExitCode: number | undefined;
  let second: (exitCode: number) => void = () => {};
  const onSignal = (signal: StopSignal): void => {
    const exitCode = EXIT_CODE_BY_SIGNAL[signal];
    if (first.signal.aborted) {
      if (signal !== 'SIGHUP') second(exitCode);
      return;
    }
    firstExitCode = exitCode;
    first.abort();
  };
  const signals: readonly StopSignal[] = ignoresHangup ? SIGNALS : [...SIGNALS, 'SIGHUP'];
  for (const signal of signals) source.on(signal, onSignal);
  return {
    first: first.signal,
    get exitCode() {
      return firstExitCode;
    },
    onSecond: (act) => {
      second = act;
    },
    dispose: () => {
      for (const signal of signals) source.off(signal, onSignal);
    },
  };
}

/** Whether this process was started to go on without its terminal. */
export function ignoresHangup(): boolean {
  try {
    const ignored = /^SigIgn:\s*([\da-f]+)$/m.exec(readFileSync('/proc/self/status', 'ascii'))?.[1];
    return (Number.parseInt(ignored?.slice(-1) ?? '0', 16) & 1) === 1; // the lowest bit is signal 1
  } catch {
    return false;
  }
}

/** Resolves when `signal` is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
