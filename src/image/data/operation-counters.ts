/** What is counted of the requests that an image gets. */

/** What was asked of an image's storages by one operation; plain fields, copied at scrape time. */
export interface OperationCounters {
  requests: number;
  /** Bytes asked for, of failed requests too. */
  bytes: number;
  failures: number;
}

/** Counters of an operation that was never asked for. */
export function newCounters(): OperationCounters {
  return { requests: 0, bytes: 0, failures: 0 };
}
