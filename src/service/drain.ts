/** The end of a service: what was acknowledged goes to the images, within a time. */

import { setMaxListeners } from 'node:events';
import type { Export } from '../export/export.ts';
import type { BlockImage } from '../image/image.ts';
import { messageOf, TmemError } from '../lib/errors.ts';
import { inTime } from '../lib/in-time.ts';
import { formatSize } from '../lib/sizes.ts';
import type { ServiceLog } from './settings.ts';

/** How often it is said how far it is. */
const PROGRESS_MS = 1000;

/** Says how much is unwritten, for as long as that is; the result ends it. */
export function tellProgress(exports: readonly Export[], log: ServiceLog): () => void {
  const timer = setInterval(() => {
    const left = dirtyBytesOf(exports);
    if (left > 0) log.warn(`writing back: ${formatSize(left)} left`);
  }, PROGRESS_MS);
  return () => clearInterval(timer);
}

/** An image that is to be closed, and a sync of it that may still be under way. */
export interface Closing {
  readonly image: Pick<BlockImage, 'name' | 'close'>;
  readonly underWay: Promise<void> | undefined;
}

/**
 * Closes each image when its sync has ended, for at most `ms` in all: one that hangs delays no other.
 * Answers why some could not be closed.
 */
export async function closeImages(closing: readonly Closing[], ms: number): Promise<unknown[]> {
  const failures: unknown[] = [];
  await Promise.all(
    closing.map(async ({ image, underWay }) => {
      const closed = Promise.resolve(underWay).then(() => image.close());
      await inTime(closed, ms, `"${image.name}"`).catch((cause: unknown) => failures.push(cause));
    }),
  );
  return failures;
}

/**
 * Writes what is dirty in all exports and syncs them, again after every failure, for at most `ms`.
 * Rejects with a TmemError that names what is lost.
 */
export async function drainExports(exports: readonly Export[], ms: number): Promise<void> {
  const deadline = new AbortController();
  setMaxListeners(0, deadline.signal); // each export has one
  const timer = setTimeout(() => deadline.abort(), ms);
  try {
    const results = await Promise.allSettled(exports.map((each) => each.drain(deadline.signal)));
    const failures: string[] = [];
    let kind: TmemError['kind'] = 'io';
    for (const [i, result] of results.entries()) {
      if (result.status === 'fulfilled') continue;
      const { reason } = result as { reason: unknown };
      if (reason instanceof TmemError) ({ kind } = reason);
      failures.push(describe(exports[i] as Export, reason));
    }
    if (failures.length > 0) throw new TmemError(kind, failures.join('; '));
  } finally {
    clearTimeout(timer);
  }
}

function describe(each: Export, cause: unknown): string {
  const dirty = dirtyBytesOf([each]);
  const reason = messageOf(cause);
  if (dirty === 0) return `export "${each.name}" could not be synced: ${reason}`;
  const lost = `${formatSize(dirty)} of export "${each.name}" could not be written`;
  return `${lost} to ${each.image.name} and are lost: ${reason}`;
}

/** Bytes of pages that were acknowledged and are to be on images, which do not have them yet. */
export function dirtyBytesOf(exports: readonly Export[]): number {
  let bytes = 0;
  for (const { dirtyBytes, isDurable } of exports) if (isDurable) bytes += dirtyBytes;
  return bytes;
}
