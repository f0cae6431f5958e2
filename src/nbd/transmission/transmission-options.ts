/** What a transmission is made of, and what it wants of its connection. */

import type { Export } from '../../export/export.ts';
import type { Recording } from '../recording.ts';
import type { ServerStatistics } from '../statistics.ts';
import type { ReplyWriter } from './reply-writer.ts';
import type { Promises } from './request.ts';

/** What a transmission wants of its connection. */
export interface Host {
  /** A rule was broken or a reply cannot be completed: drop the connection, `reason` in the log. */
  fail(reason: string): void;
  /** The client said goodbye and everything was answered. */
  finish(): void;
  /** Room appeared: call `resume` when convenient. */
  wake(): void;
}

/** Hears of requests that wait for the image. */
interface WaitListener {
  noteWait(): void;
  noteWaitEnd(seconds: number): void;
}

/** Everything one connection's transmission works with. */
export interface TransmissionOptions {
  readonly export: Export;
  readonly promises: Promises;
  /** Ids of the metadata contexts in use. */
  readonly metaContextIds: readonly number[];
  readonly writer: ReplyWriter;
  readonly statistics: ServerStatistics;
  readonly host: Host;
  /** Seconds on a clock that only grows. */
  readonly now: () => number;
  readonly waits?: WaitListener;
  /** Who hears of the requests; nobody if not given. */
  readonly recording?: Recording;
  /** What the export is called there; 0 if not given. */
  readonly exportNumber?: number;
}
