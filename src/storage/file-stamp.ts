/**
 * When a file was last changed, as the system tells: by size, time of modification and time of
 * change. The time of change serves as the change counter: no program can set it, and whatever
 * changes the content, the size or the owner of a file moves it.
 *
 * The system's clock for these times moves in ticks, so that two changes within one tick look alike.
 * A stamp is therefore taken only when the last change is some ticks ago: then every later one shows.
 */

import { open, stat } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { kindOfSystemError, systemErrorCode, TmemError } from '../lib/errors.ts';
import { isOnFuse } from './fuse.ts';
import { mediumOf } from './open-file.ts';

/** What of a file tells that it was changed. */
export interface FileStamp {
  /** Names the file, whatever is in it; as an open storage names it. */
  readonly medium: string;
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** What `settledStamp` looks at; a test brings its own. */
export interface StampSources {
  /** Nanoseconds since 1970. */
  readonly nowNs: () => bigint;
  readonly stamp: (path: string) => Promise<FileStamp | undefined>;
  readonly wait: (ms: number) => Promise<unknown>;
}

const NS_PER_MS = 1_000_000n;
const NS_PER_SECOND = 1_000_000_000n;
/** Ticks are at most 10 ms long; a file system that keeps whole seconds may round up to two. */
const TICKS_MS = 50;
const SECONDS_MS = 2_100;
const TRIES_MAX = 4;

const systemSources: StampSources = {
  nowNs: () => BigInt(Date.now()) * NS_PER_MS,
  stamp: trustedStamp,
  wait: (ms) => setTimeout(ms),
};

/**
 * The stamp of the file at `path`; undefined for a block device, whose content has no time of
 * change. Rejects with a TmemError when the system cannot tell.
 */
export async function stampFile(path: string): Promise<FileStamp | undefined> {
  try {
    const stats = await stat(path, { bigint: true });
    if (!stats.isFile()) return undefined;
    const { mtimeNs, ctimeNs } = stats;
    return { medium: mediumOf(stats), sizeBytes: Number(stats.size), mtimeNs, ctimeNs };
  } catch (cause) {
    throw failure(path, 'look at', cause);
  }
}

/**
 * As `stampFile`; undefined too for a file on FUSE, whose times are what its program says they are.
 * Some say the same whatever is written.
 */
export async function trustedStamp(path: string): Promise<FileStamp | undefined> {
  return (await isOnFuse(path)) ? undefined : stampFile(path);
}

/**
 * As `trustedStamp`, of a file whose last change was long enough ago that any later one gives another
 * stamp; waits for that, two seconds at most each time. Undefined too while it keeps being changed.
 */
export async function settledStamp(
  path: string,
  sources: StampSources = systemSources,
): Promise<FileStamp | undefined> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const stamp = await sources.stamp(path);
    if (stamp === undefined) return undefined;
    const { mtimeNs, ctimeNs } = stamp;
    const areSeconds = mtimeNs % NS_PER_SECOND === 0n && ctimeNs % NS_PER_SECOND === 0n;
    const neededMs = areSeconds ? SECONDS_MS : TICKS_MS;
    const ageMs = Number((sources.nowNs() - ctimeNs) / NS_PER_MS);
    // A change in the future is one of another clock: the next one here will not look like it.
    if (Math.abs(ageMs) > neededMs) return stamp;
    await sources.wait(neededMs - ageMs + 1);
  }
  return undefined;
}

/** Whether nothing changed between the two. */
export function isSameStamp(a: FileStamp, b: FileStamp): boolean {
  return (
    a.medium === b.medium &&
    a.sizeBytes === b.sizeBytes &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs
  );
}

/** Brings the content of the file and its times to stable storage, whoever wrote it. */
export async function syncFile(path: string): Promise<void> {
  try {
    const handle = await open(path, 'r');
    try {
      await handle.sync(); // not datasync, which may leave the times behind
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw failure(path, 'sync', cause);
  }
}

function failure(path: string, what: string, cause: unknown): TmemError {
  const code = systemErrorCode(cause) ?? String(cause);
  const advice = 'check the path and the disk that it is on';
  return new TmemError(
    kindOfSystemError(cause),
    `cannot ${what} "${path}": the system answered ${code}; ${advice}`,
    { context: { path, code }, cause },
  );
}
