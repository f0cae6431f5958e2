/** Makes the exports of a service: disks behind caches on one stack. */

import { BaseImages } from '../export/base-images.ts';
import { Export, type WriteBackParts } from '../export/export.ts';
import type { WriteFailure } from '../export/writes/writer.ts';
import type { WriterTuning } from '../export/writes/writer-plan.ts';
import type { BlockImage } from '../image/image.ts';
import { BufferPool } from '../lib/buffer-pool.ts';
import { messageOf } from '../lib/errors.ts';
import { formatSize } from '../lib/sizes.ts';
import type { Account } from '../tmem/account.ts';
import { Cleancache } from '../tmem/cleancache.ts';
import { Frontswap } from '../tmem/frontswap.ts';
import type { Disk } from './disks.ts';
import type { MemoryPlan } from './memory/plan.ts';
import type { ServiceLog } from './settings.ts';
import type { Stack } from './stack.ts';

/** An image gets what is written within seconds, and room is made before it is needed. */
const IMAGE_TUNING: WriterTuning = {
  ageMsMax: 5000,
  highFraction: 0.9,
  lowFraction: 0.75,
  closesGaps: true,
};
/** A swap device keeps in memory what it can; its overflow is a log, where a gap costs nothing. */
const SWAP_TUNING: WriterTuning = {
  ageMsMax: Number.POSITIVE_INFINITY,
  highFraction: 0.95,
  lowFraction: 0.9,
  closesGaps: false,
};
/** Without an overflow there is nowhere to write to. */
const NO_OVERFLOW_TUNING: WriterTuning = {
  ...SWAP_TUNING,
  highFraction: Number.POSITIVE_INFINITY,
};
/** Failures of one export are not told more often than that, milliseconds. */
const FAILURE_LOG_MS = 1000;

/** What exports are made of besides their disks. */
export interface ExportParts {
  readonly stack: Stack;
  readonly pageBytes: number;
  readonly buffers: BufferPool;
  readonly plan: MemoryPlan;
  readonly log: ServiceLog;
}

/** A disk as it is served. */
export interface Served {
  readonly disk: Disk;
  /** What clients see of it. */
  readonly target: Export;
}

/** The exports of a service, and what they have in common. */
export interface Exports {
  readonly served: readonly Served[];
  readonly baseImages: BaseImages;
  /** The writers' buffers, bytes. */
  readonly writerBytes: number;
}

/** An export for every disk, in order. */
export function createExports(disks: readonly Disk[], parts: ExportParts): Exports {
  const { stack, pageBytes, buffers, plan } = parts;
  /** By image: exports of one read-only image share its pages. */
  const caches = new Map<string, Cleancache>();
  const cacheOf = (image: BlockImage, accountOf: () => Account): Cleancache => {
    const known = caches.get(image.identity);
    if (known !== undefined) return known;
    const cache = new Cleancache(stack.tmem, pageBytes, stack.lender, accountOf());
    caches.set(image.identity, cache);
    return cache;
  };
  const baseImages = new BaseImages({
    buffers,
    cacheOf: (image) => cacheOf(image, () => stack.tmem.createAccount({ name: image.name })),
  });
  let swapCount = 0;
  let writerBytes = 0;
  const served = disks.map((disk): Served => {
    const { name, image, mode } = disk;
    const account = stack.tmem.createAccount({ name, ...shareOf(disk) });
    const cache = cacheOf(image, () => account);
    const bases = baseImages.below(image);
    const limitPages = mode === 'swap' ? (plan.swapDirtyPages[swapCount++] ?? 0) : plan.dirtyPages;
    const writeBack = writeBackOf(disk, account, limitPages, parts);
    writerBytes += writeBack?.buffers.totalBytes ?? 0;
    const target = new Export({ name, image, cache, bases, buffers, mode, writeBack });
    return { disk, target };
  });
  return { served, baseImages, writerBytes };
}

function shareOf({ share: { weight, capBytes, minimumBytes } }: Disk) {
  return { weight, capBytes: capBytes ?? Number.POSITIVE_INFINITY, minimumBytes };
}

function writeBackOf(
  { name, mode, overflow }: Disk,
  account: Account,
  limitPages: number,
  { stack, pageBytes, plan, log }: ExportParts,
): WriteBackParts | undefined {
  if (mode !== 'writeback' && mode !== 'swap') return undefined;
  const swapTuning = overflow === undefined ? NO_OVERFLOW_TUNING : SWAP_TUNING;
  return {
    frontswap: new Frontswap(stack.tmem, pageBytes, stack.lender, account),
    limitPages,
    // Its own: a disk that hangs must not hold what other exports write from.
    buffers: new BufferPool(plan.writerBytes, pageBytes),
    tuning: mode === 'swap' ? swapTuning : IMAGE_TUNING,
    onFailure: failureLogger(name, mode, log),
  };
}

/** Says which export and range could not be written; not every time when it goes on. */
function failureLogger(
  name: string,
  mode: Disk['mode'],
  log: ServiceLog,
): (failure: WriteFailure) => void {
  const sooner = mode === 'swap' ? '' : ', or at the next FLUSH'; // which a swap device does not take
  let toldAt = Number.NEGATIVE_INFINITY;
  return ({ offset, length, cause, retryMs }) => {
    const now = performance.now();
    if (now - toldAt < FAILURE_LOG_MS) return;
    toldAt = now;
    const reason = messageOf(cause);
    const what = `${formatSize(length)} at offset ${offset} of export "${name}"`;
    log.warn(`${what} could not be written back and stay in memory: ${reason}`);
    log.warn(`the next try is in ${Math.round(retryMs / 1000)} s${sooner}`);
  };
}
