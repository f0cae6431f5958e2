/**
 * The writer behind write-back: it brings dirty pages to the image, in sorted runs joined into large
 * writes. Pages are taken because somebody waits for them (a FLUSH, a drain), because they have been
 * dirty for too long, or because there are too many: then those written longest ago go first.
 *
 * A page may be written by the guest while it is under way here. It is called clean only if its
 * version is still the one that was copied. A write that fails leaves its pages dirty; they are
 * tried again after a pause that grows.
 *
 * Buffers are a pool of the writer's own, so that writing back never waits for memory that the
 * requests hold which wait for it. Few writes are under way at a time, fewer while somebody reads.
 */

import type { BlockImage } from '../image/image.ts';
import type { BufferPool, PooledBuffer } from '../lib/buffer-pool.ts';
import { PIECE_BYTES } from '../lib/buffer-pool.ts';
import { TmemError } from '../lib/errors.ts';
import { MISS } from '../tmem/layer.ts';
import { NO_SLOT } from '../tmem/page-index.ts';
import type { Clock } from './clock.ts';
import type { DirtyTier } from './dirty-tier.ts';
import type { Change, InFlight } from './in-flight.ts';
import type { PageLocks } from './page-locks.ts';

/** When the writer begins, and how much it does at a time. */
export interface WriterTuning {
  /** A page is not dirty for longer than about this, milliseconds; Infinity for no such limit. */
  readonly ageMsMax: number;
  /** Dirty pages at which writing begins, and at which it stops, as shares of the dirty limit. */
  readonly highFraction: number;
  readonly lowFraction: number;
}

/** Writes under way at most; while reads wait for the image; while somebody waits for all. */
const RUNS_MAX = 6;
const RUNS_WHILE_READING_MAX = 2;
const RUNS_WHILE_FLUSHING_MAX = 12;
/** Pages that are sorted at a time. */
const PLAN_PAGES_MAX = 512;
const RETRY_MS_MIN = 1000;
const RETRY_MS_MAX = 60_000;

/** A write of the image that failed, as told to whoever watches. */
export interface WriteFailure {
  readonly offset: number;
  readonly length: number;
  readonly cause: unknown;
  /** How long the pages rest before they are tried again, milliseconds. */
  readonly retryMs: number;
}

/** Counters, plain fields. */
export interface WriterStatistics {
  /** Pages brought to the image, and the writes that did it. */
  writtenPages: number;
  runs: number;
  failures: number;
  /** Written pages that had been written again meanwhile, and so were not clean. */
  redirtiedPages: number;
}

export interface WriterOptions {
  readonly image: BlockImage;
  readonly tier: DirtyTier;
  readonly locks: PageLocks;
  readonly inFlight: InFlight;
  readonly buffers: BufferPool;
  readonly pageBytes: number;
  readonly clock: Clock;
  readonly tuning: WriterTuning;
  /** The dirty limit as of now, pages. */
  readonly limitPages: () => number;
  /** Pages became clean, or can not become so: whoever waits for room may look again. */
  readonly onProgress: () => void;
  readonly onFailure: (failure: WriteFailure) => void;
}

/** Consecutive pages on their way to the image. */
interface Run {
  readonly first: number;
  readonly count: number;
  readonly piece: PooledBuffer;
  readonly slots: Int32Array;
  readonly versions: Float64Array;
  readonly firstVersions: Float64Array;
  readonly change: Change;
  readonly ended: Promise<void>;
}

export class Writer {
  readonly statistics: WriterStatistics = {
    writtenPages: 0,
    runs: 0,
    failures: 0,
    redirtiedPages: 0,
  };
  /** Why the last write that failed did; undefined when none has since one succeeded. */
  failure: TmemError | undefined;

  readonly #options: WriterOptions;
  readonly #runPagesMax: number;
  readonly #runs = new Set<Run>();
  #plan: number[] = []; // page numbers, the highest first
  #isReducing = false; // between the high and the low watermark
  #isWaitingForBuffer = false;
  #retryMs = RETRY_MS_MIN;
  #cancelTimer: (() => void) | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  #cancelRetry: (() => void) | undefined;
  #flush: { resolve: () => void; reject: (cause: unknown) => void } | undefined;
  #isClosed = false;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#runPagesMax = PIECE_BYTES / options.pageBytes;
  }

  /** Whether dirty pages may still become clean without a success that is in doubt. */
  get canProgress(): boolean {
    return this.#runs.size > 0 || this.#options.tier.table.queuedCount > 0;
  }

  /** Looks whether there is something to write, and begins. */
  kick(): void {
    if (this.#isClosed) return;
    const { tier } = this.#options;
    while (this.#runs.size < this.#runsMax() && !this.#isWaitingForBuffer) {
      const page = this.#nextPage();
      if (page < 0) break;
      if (!this.#begin(page)) break;
    }
    if (tier.table.queuedCount > 0) this.#setTimer();
    this.#endFlushIfDone();
  }

  /** Pages were written: begins if there are too many, or sees to it that they go in time. */
  noteWritten(): void {
    const { tier, tuning, limitPages } = this.#options;
    const isHigh = tier.table.count >= limitPages() * tuning.highFraction;
    if (isHigh || this.#cancelTimer === undefined) this.kick();
  }

  /**
   * Resolves when every page that is dirty now is on the image, in this version or a newer one.
   * Rejects with the first failure of the image. One at a time.
   */
  async flush(): Promise<void> {
    if (this.#flush !== undefined) throw new Error('writer: two flushes at a time');
    const { table } = this.#options.tier;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    table.retry();
    table.beginBarrier();
    await new Promise<void>((resolve, reject) => {
      this.#flush = { resolve, reject };
      this.kick();
    });
  }

  /** Resolves when no page of the range is on its way to the image. */
  async settled(first: number, count: number): Promise<void> {
    for (const run of [...this.#runs]) {
      if (run.first < first + count && first < run.first + run.count) await run.ended;
    }
  }

  /** Ends timers; writes under way end by themselves. */
  close(): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
    this.#cancelRetry?.();
  }

  #runsMax(): number {
    if (this.#flush !== undefined) return RUNS_WHILE_FLUSHING_MAX;
    return this.#options.inFlight.fetchCount > 0 ? RUNS_WHILE_READING_MAX : RUNS_MAX;
  }

  /** The next page in the order of the image, or -1 when nothing calls for writing. */
  #nextPage(): number {
    const { tier, locks } = this.#options;
    for (let tries = 0; tries < 2; tries++) {
      for (let page = this.#plan.pop(); page !== undefined; page = this.#plan.pop()) {
        const slot = tier.table.find(page);
        if (slot === NO_SLOT || !tier.table.isQueued(slot) || locks.isHeld(page)) continue;
        return page;
      }
      this.#makePlan();
      if (this.#plan.length === 0) break;
    }
    return -1;
  }

  /** Lists pages that should go now. */
  #makePlan(): void {
    const { tier, clock, tuning, limitPages } = this.#options;
    const { table } = tier;
    const limit = limitPages();
    if (table.count >= limit * tuning.highFraction) this.#isReducing = true;
    const excess = table.count - table.writingCount - Math.floor(limit * tuning.lowFraction);
    if (excess <= 0) this.#isReducing = false;
    const plan = this.#plan;
    const isFlushing = this.#flush !== undefined;
    const due = clock.now() - tuning.ageMsMax;
    let slot = table.oldest;
    while (slot !== NO_SLOT && plan.length < PLAN_PAGES_MAX) {
      if (!isFlushing && table.dirtySince(slot) > due) break;
      this.#planIfFree(slot);
      slot = table.nextOldest(slot);
    }
    if (plan.length === 0 && this.#isReducing) {
      const most = Math.min(excess, PLAN_PAGES_MAX);
      for (slot = table.coldest; slot !== NO_SLOT && plan.length < most; ) {
        this.#planIfFree(slot);
        slot = table.nextColdest(slot);
      }
    }
    plan.sort((a, b) => b - a);
  }

  #planIfFree(slot: number): void {
    const page = this.#options.tier.table.pageOf(slot);
    if (!this.#options.locks.isHeld(page)) this.#plan.push(page);
  }

  /** Begins a run that has `page` in it; no when there is no buffer for it. */
  #begin(page: number): boolean {
    const { buffers, pageBytes, tier, inFlight } = this.#options;
    let first = page;
    let end = page + 1;
    while (end - first < this.#runPagesMax && this.#mayJoin(end)) end++;
    while (end - first < this.#runPagesMax && this.#mayJoin(first - 1)) first--;
    const piece = buffers.take((end - first) * pageBytes);
    if (piece === undefined) {
      this.#waitForBuffer((end - first) * pageBytes);
      return false;
    }
    const count = this.#copy(first, end, piece);
    if (count === 0) {
      buffers.release(piece); // the page was lost in memory; the tier remembers that
      this.#endFlushIfDone();
      return true;
    }
    const slots = new Int32Array(count);
    const versions = new Float64Array(count);
    const firstVersions = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      const slot = tier.table.find(first + i);
      slots[i] = slot;
      versions[i] = tier.table.versionOf(slot);
      firstVersions[i] = tier.table.beginWrite(slot);
    }
    const change = inFlight.beginChange(first, count);
    const parts = { first, count, piece, slots, versions, firstVersions, change };
    const run: Run = {
      ...parts,
      ended: this.#write(first, count, piece).then(
        () => this.#succeeded(run),
        (cause: unknown) => this.#failed(run, cause),
      ),
    };
    this.#runs.add(run);
    this.statistics.runs++;
    return true;
  }

  /** Whether the page may go along with its neighbour. */
  #mayJoin(page: number): boolean {
    if (page < 0) return false;
    const { tier, locks } = this.#options;
    const slot = tier.table.find(page);
    return slot !== NO_SLOT && tier.table.isQueued(slot) && !locks.isHeld(page);
  }

  /** Copies pages until one can not be read; answers how many were. */
  #copy(first: number, end: number, piece: PooledBuffer): number {
    const { tier, pageBytes } = this.#options;
    for (let page = first; page < end; page++) {
      const to = piece.dataOffset + (page - first) * pageBytes;
      if (tier.get(page, piece.buffer, to) === MISS) return page - first;
    }
    return end - first;
  }

  #write(first: number, count: number, piece: PooledBuffer): Promise<void> {
    const { image, pageBytes } = this.#options;
    const offset = first * pageBytes;
    const bytes = Math.min(count * pageBytes, image.virtualSizeBytes - offset);
    return image.write(piece.buffer, piece.dataOffset, bytes, offset);
  }

  #succeeded(run: Run): void {
    const { tier } = this.#options;
    const before = tier.table.count;
    for (let i = 0; i < run.count; i++) {
      tier.written(run.slots[i]!, run.first + i, run.versions[i]!, run.firstVersions[i]!);
    }
    this.statistics.writtenPages += run.count;
    this.statistics.redirtiedPages += run.count - (before - tier.table.count);
    this.#retryMs = RETRY_MS_MIN;
    if (tier.table.failedCount === 0) this.failure = undefined;
    this.#end(run);
  }

  #failed(run: Run, cause: unknown): void {
    const { tier, pageBytes, clock, onFailure } = this.#options;
    for (let i = 0; i < run.count; i++) {
      tier.table.failWrite(run.slots[i]!, run.firstVersions[i]!);
    }
    this.statistics.failures++;
    this.failure =
      cause instanceof TmemError ? cause : new TmemError('io', 'writing back failed', { cause });
    const retryMs = this.#retryMs;
    if (this.#cancelRetry === undefined) {
      this.#retryMs = Math.min(RETRY_MS_MAX, retryMs * 2);
      this.#cancelRetry = clock.after(retryMs, () => {
        this.#cancelRetry = undefined;
        tier.table.retry();
        this.kick();
      });
    }
    const [offset, length] = [run.first * pageBytes, run.count * pageBytes];
    onFailure({ offset, length, cause, retryMs });
    this.#flush?.reject(this.failure);
    this.#flush = undefined;
    this.#end(run);
  }

  #end(run: Run): void {
    const { buffers, inFlight, onProgress } = this.#options;
    this.#runs.delete(run);
    inFlight.endChange(run.change);
    buffers.release(run.piece);
    onProgress();
    this.kick();
  }

  #waitForBuffer(bytes: number): void {
    const { buffers } = this.#options;
    this.#isWaitingForBuffer = true;
    void buffers.wait(bytes).then((piece) => {
      buffers.release(piece);
      this.#isWaitingForBuffer = false;
      this.kick();
    });
  }

  #endFlushIfDone(): void {
    const flush = this.#flush;
    if (flush === undefined) return;
    const { table } = this.#options.tier;
    if (table.lostCount > 0) flush.reject(lostPages(table.lostCount, this.#options.image.name));
    else if (table.owedCount <= 0) flush.resolve();
    else return;
    this.#flush = undefined;
  }

  /** Sees to it that the oldest page is looked at when it is due. */
  #setTimer(): void {
    const { tier, clock, tuning } = this.#options;
    const { oldest } = tier.table;
    if (oldest === NO_SLOT || tuning.ageMsMax === Number.POSITIVE_INFINITY) return;
    const due = tier.table.dirtySince(oldest) + tuning.ageMsMax;
    if (this.#cancelTimer !== undefined && this.#timerDue <= due) return;
    this.#cancelTimer?.();
    this.#timerDue = due;
    this.#cancelTimer = clock.after(Math.max(1, due - clock.now()), () => {
      this.#cancelTimer = undefined;
      this.kick();
    });
  }
}

function lostPages(count: number, name: string): TmemError {
  return new TmemError(
    'io',
    `${count} written pages of "${name}" were damaged in memory before they could be written ` +
      'back; write them again',
    { context: { image: name, count } },
  );
}
