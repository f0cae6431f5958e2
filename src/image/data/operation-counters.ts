/** What is counted of the requests that an image gets. */

import { kindOfSystemError } from '../../lib/errors.ts';

/** What was asked of an image's storages by one operation; plain fields, copied at scrape time. */
export interface OperationCounters {
  requests: number;
  /** Bytes asked for, of failed requests too. */
  bytes: number;
  failures: number;
  /** Why the last one that failed did. */
  lastFailure?: unknown;
}

/** Counters of an operation that was never asked for. */
export function newCounters(): OperationCounters {
  return { requests: 0, bytes: 0, failures: 0, lastFailure: undefined };
}

/** That something is not supported, as fast zeroes may be, is an answer and no failure. */
export function countFailure(counters: OperationCounters, cause: unknown): void {
  if (kindOfSystemError(cause) === 'unsupported') return;
  counters.failures++;
  counters.lastFailure = cause;
}
