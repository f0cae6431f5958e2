/**
 * SIGINT and SIGTERM: the first asks to finish and stop, the second will not wait. SIGHUP, by which a
 * terminal says that it is gone, asks as well; it may come more than once and never hurries.
 */

import type { EventEmitter } from 'node:events';
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

const SIGNALS: readonly StopSignal[] = ['SIGHUP', 'SIGINT', 'SIGTERM'];

/** Listens for the signals that `source`, the process, emits. */
export function watchStopSignals(source: EventEmitter): StopSignals {
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
  for (const signal of SIGNALS) source.on(signal, onSignal);
  return {
    first: first.signal,
    get exitCode() {
      return firstExitCode;
    },
    onSecond: (act) => {
      second = act;
    },
    dispose: () => {
      for (const signal of SIGNALS) source.off(signal, onSignal);
    },
  };
}

/** Resolves when `signal` is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
