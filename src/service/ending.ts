/** The order in which the parts of a service end, and how long a disk that hangs may hold that up. */

import type { Export } from '../export/export.ts';
import { messageOf, TmemError } from '../lib/errors.ts';
import { inTime } from '../lib/in-time.ts';
import { formatCounted } from '../lib/quantities.ts';
import { DRAIN_MS_MAX, type NbdServer } from '../nbd/server.ts';
import type { BaseCopies } from './base-copies.ts';
import { closeImages, drainExports, tellProgress } from './drain.ts';
import type { Recordings } from './recording/recordings.ts';
import type { ServiceLog } from './settings.ts';
import type { WarmRestart } from './warm-restart.ts';
import type { FailedRequests } from './warnings/failed-requests.ts';
import type { FileNames } from './warnings/file-names.ts';
import type { FullSwaps } from './warnings/full-swaps.ts';

/** How long a disk may take to end what is under way and to close, milliseconds. */
const CLOSE_MS_MAX = 10_000;
/** When clients have held up the end for so long it is said, milliseconds. */
const QUIET_MS_MAX = 2_000;

/** What has to end. */
export interface EndingParts {
  readonly log: ServiceLog;
  /** How long what is unwritten may take, milliseconds. */
  readonly drainMsMax: number;
  readonly server: Pick<NbdServer, 'stop'> & {
    readonly statistics: Pick<NbdServer['statistics'], 'connections'>;
  };
  readonly exports: readonly Export[];
  readonly warmRestart: Pick<WarmRestart, 'stop' | 'saveAtEnd'> | undefined;
  /** Whether there was ever anything to save. */
  readonly hasStarted: boolean;
  readonly fullSwaps: Pick<FullSwaps, 'stop'>;
  readonly failedRequests: Pick<FailedRequests, 'stop'>;
  readonly recordings: Pick<Recordings, 'stop'>;
  readonly baseCopies: Pick<BaseCopies, 'stop'>;
  readonly fileNames: Pick<FileNames, 'stop'>;
}

/**
 * Clients first, so that what they were told is done; then what is unwritten; then the disks. What may
 * wait for a disk that hangs does so beside the rest, so that few limits add up. Rejects when something
 * that was acknowledged could not be written.
 */
export async function endInOrder(parts: EndingParts): Promise<void> {
  const { log, exports, warmRestart } = parts;
  const failures: unknown[] = [];
  const collect = async (work: Promise<unknown>): Promise<void> => {
    await work.catch((cause: unknown) => failures.push(cause));
  };
  // Of these nothing is lost to a client, but their disks may hang, too.
  const within = async (work: Promise<unknown> | undefined, what: string): Promise<void> => {
    await inTime(Promise.resolve(work), CLOSE_MS_MAX, what).catch((cause: unknown) =>
      log.warn(messageOf(cause)),
    );
  };
  const endProgress = tellProgress(exports, log);
  // What is dirty already need not wait for the last client; the drain hears of failures.
  const early = exports.map((each) => each.sync().catch(() => undefined));
  try {
    const loaded = within(warmRestart?.stop(), 'the loading of the snapshot');
    await Promise.all([stopServer(parts), loaded]);
    parts.fullSwaps.stop();
    parts.failedRequests.stop();
    await Promise.all([
      collect(drainExports(exports, parts.drainMsMax)),
      within(parts.recordings.stop(), 'the recording'),
      parts.baseCopies.stop(CLOSE_MS_MAX), // with no client left that reads through a base
    ]);
  } finally {
    endProgress();
  }
  const looked = collect(parts.fileNames.stop(CLOSE_MS_MAX));
  for (const each of exports) each.close();
  // While the images are locked nobody else can have changed what is saved.
  if (parts.hasStarted) await warmRestart?.saveAtEnd();
  await looked;
  const closing = exports.map(({ image }, i) => ({ image, underWay: early[i] }));
  failures.push(...(await closeImages(closing, CLOSE_MS_MAX)));
  if (failures.length === 0) return;
  const [first, ...others] = failures;
  for (const each of others) log.warn(messageOf(each));
  throw first instanceof TmemError
    ? first
    : new TmemError('io', 'closing the images failed', { cause: first });
}

/** A client that does not read its replies may hold that up, and so may a disk that has none for it. */
async function stopServer({ server, log }: EndingParts): Promise<void> {
  const timer = setTimeout(() => {
    const clients = formatCounted(server.statistics.connections, 'client', 'clients');
    const seconds = DRAIN_MS_MAX / 1000;
    log.warn(`waiting for replies to reach ${clients}, for at most ${seconds} s`);
  }, QUIET_MS_MAX);
  await server.stop().finally(() => clearTimeout(timer));
}
