/**
 * Requests that images failed. Clients get no more than an errno, and a metric no more than a count:
 * which file it was, where, and what can be done, is said in the log.
 */

import type { Export } from '../../export/export.ts';
import type { Writer } from '../../export/writes/writer.ts';
import type { OperationCounters } from '../../image/data/operation-counters.ts';
import type { BlockImage } from '../../image/image.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Disk } from '../disks.ts';
import type { ServiceLog } from '../settings.ts';

/** How often it is looked, milliseconds: counters are compared, nothing more. */
const LOOK_MS = 1000;
/** So many looks pass before the like is told again. */
const QUIET_LOOKS = 60;

/** What an image may fail to do, by the names of its counters, and what a person calls it. */
const NOUNS = {
  read: 'read',
  write: 'write',
  zeroes: 'write of zeros',
  discard: 'discard',
  sync: 'sync',
} as const;

/** What is looked at: one kind of request of one export. */
interface WatchedRequests {
  readonly exportName: string;
  readonly noun: string;
  readonly counters: Pick<OperationCounters, 'failures' | 'lastFailure'>;
}

/** All that may fail and is told of by nobody else: the writer and full swap devices have a say. */
export function watchedRequests(
  served: readonly { readonly disk: Pick<Disk, 'overflow'>; readonly target: Export }[],
): WatchedRequests[] {
  const watched: WatchedRequests[] = [];
  const seen = new Set<BlockImage>();
  for (const { disk, target } of served) {
    const { name: exportName, image, mode, writeBack } = target;
    const mayBeFull = mode === 'swap' && disk.overflow === undefined;
    for (let each: BlockImage | undefined = image; each !== undefined; each = each.backing) {
      if (seen.has(each)) break;
      seen.add(each);
      for (const [operation, noun] of Object.entries(NOUNS)) {
        const isWrite = operation === 'write';
        if (isWrite && mayBeFull) continue;
        const all = each.counters[operation as keyof typeof NOUNS];
        const counters = isWrite && writeBack ? besidesWriter(all, writeBack.writer) : all;
        watched.push({ exportName, noun, counters });
      }
    }
  }
  return watched;
}

/** The writes that a client waited for, since memory did not take them. */
function besidesWriter(
  all: OperationCounters,
  { statistics }: Writer,
): WatchedRequests['counters'] {
  return {
    get failures() {
      return all.failures - statistics.failures;
    },
    get lastFailure() {
      return all.lastFailure;
    },
  };
}

/** Tells of each kind of request when the first has failed, and then at most once a minute. */
export class FailedRequests {
  readonly #watched: readonly (WatchedRequests & { toldCount: number; quietLooks: number })[];
  readonly #log: ServiceLog;
  #timer: NodeJS.Timeout | undefined;

  constructor(watched: readonly WatchedRequests[], log: ServiceLog) {
    this.#watched = watched.map((each) => ({ ...each, toldCount: 0, quietLooks: 0 }));
    this.#log = log;
  }

  start(): void {
    this.#timer = setInterval(() => this.#look(false), LOOK_MS).unref();
  }

  /** Looks a last time. */
  stop(): void {
    clearInterval(this.#timer);
    this.#look(true);
  }

  #look(isLast: boolean): void {
    const told = new Set<unknown>();
    for (const each of this.#watched) {
      const { exportName, noun, counters, toldCount } = each;
      if (each.quietLooks > 0) each.quietLooks--;
      if (counters.failures <= toldCount || (each.quietLooks > 0 && !isLast)) continue;
      each.toldCount = counters.failures;
      each.quietLooks = QUIET_LOOKS;
      // What failed in an image below failed in those above it, too.
      if (told.has(counters.lastFailure)) continue;
      told.add(counters.lastFailure);
      const count = counters.failures - toldCount;
      const times = count === 1 ? '' : ` ${count} times, the last time`;
      const reason = messageOf(counters.lastFailure);
      this.#log.warn(`export "${exportName}": a ${noun} failed${times}: ${reason}`);
    }
  }
}
