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

import type { BlockImage } from '../../image/image.ts';
import type { BufferPool, PooledBuffer } from '../../lib/buffer-pool.ts';
import { PIECE_BYTES } from '../../lib/buffer-pool.ts';
import type { Clock } from '../../lib/clock.ts';
import { TmemError } from '../../lib/errors.ts';
import { NO_SLOT } from '../../tmem/page-index.ts';
import type { Change, InFlight } from '../in-flight.ts';
import type { CleanPages } from '../pages/clean-pages.ts';
import { type DirtyTier, lostPages } from '../pages/dirty-tier.ts';
import type { DirtyRoom } from './dirty-room.ts';
import type { PageLocks } from './page-locks.ts';
import { RunPages } from './run-pages.ts';
import { WriterPlan, type WriterTuning } from './writer-plan.ts';

/** Writes under way at most; while reads wait for the image; while somebody waits for all. */
const RUNS_MAX = 6;
const RUNS_WHILE_READING_MAX = 2;
const RUNS_WHILE_FLUSHING_MAX = 12;
const RETRY_MS_MIN = 1000;
const RETRY_MS_MAX = 60_000;
/** What is due and can not be taken now is looked at again after so long, at the latest. */
const DUE_AGAIN_MS = 1000;

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
  /** Writes that the image failed, those too whose dirty pages it took without the clean ones. */
  failures: number;
  /** Clean pages that were written along, since they lay between dirty ones. */
  cleanPages: number;
  /** Written pages that had been written again meanwhile, and so were not clean. */
  redirtiedPages: number;
}

export interface WriterOptions {
  readonly image: BlockImage;
  readonly tier: DirtyTier;
  /** Where a page is when the image has it. */
  readonly clean: CleanPages;
  readonly locks: PageLocks;
  readonly inFlight: InFlight;
  readonly buffers: BufferPool;
  readonly pageBytes: number;
  readonly clock: Clock;
  readonly tuning: WriterTuning;
  /** Who waits for room is let in as pages become clean, or can not become so. */
  readonly room: DirtyRoom;
  readonly onFailure: (failure: WriteFailure) => void;
}

/** A write of the image under way. */
interface Run {
  readonly pages: RunPages;
  readonly piece: PooledBuffer;
  /** Where in its buffer the pages begin. */
  readonly at: number;
  readonly change: Change;
  ended: Promise<void> | undefined;
}

/** Somebody waits until all that was dirty then is on the image. */
interface Flush {
  readonly resolve: () => void;
  readonly reject: (cause: TmemError) => void;
  /** Losses in memory before it began. */
  readonly lossCount: number;
  /** The first write that failed since. */
  failure: TmemError | undefined;
}

export class Writer {
  readonly statistics: WriterStatistics = {
    writtenPages: 0,
    runs: 0,
    failures: 0,
    cleanPages: 0,
    redirtiedPages: 0,
  };
  readonly #options: WriterOptions;
  readonly #plan: WriterPlan;
  readonly #runs = new Set<Run>();
  readonly #spare: RunPages[] = [];
  /** A buffer that was waited for, until the next run takes it. */
  #granted: PooledBuffer | undefined;
  #isWaitingForBuffer = false;
  #retryMs = RETRY_MS_MIN;
  #failure: TmemError | undefined;
  #cancelTimer: (() => void) | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  #cancelRetry: (() => void) | undefined;
  #flush: Flush | undefined;
  #isClosed = false;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#plan = new WriterPlan({
      ...options,
      table: options.tier.table,
      isUnderWay: (page) => this.#isUnderWay(page),
    });
  }

  /** Why the last write that failed did; undefined when nothing is left that the image refused. */
  get failure(): TmemError | undefined {
    return this.#options.tier.table.troubledCount > 0 ? this.#failure : undefined;
  }

  /** Whether pages may still become clean for whoever waits for room. */
  get canProgress(): boolean {
    if (this.#runs.size > 0) return true;
    if (this.#isClosed || !this.#plan.canMakeRoom) return false;
    return this.#options.tier.table.queuedCount > 0;
  }

  /** Looks whether there is something to write, and begins. */
  kick(): void {
    if (this.#isClosed) return;
    const { table } = this.#options.tier;
    while (this.#runs.size < this.#runsMax() && !this.#isWaitingForBuffer) {
      const isFlushing = this.#flush !== undefined && table.owedCount > 0;
      const page = this.#plan.next(isFlushing, this.#runs.size === 0);
      if (page < 0) break;
      if (!this.#begin(page)) break;
    }
    this.#setTimer();
    this.#endFlushIfDone();
  }

  /** Pages were written: begins if there are too many, or sees to it that they go in time. */
  noteWritten(): void {
    if (this.#plan.isHigh || this.#cancelTimer === undefined) this.kick();
  }

  /**
   * Resolves when every page that is dirty now is on the image, in this version or a newer one.
   * When some can not be written it waits for all the others, and rejects with the first failure.
   * One at a time.
   */
  async flush(): Promise<void> {
    if (this.#flush !== undefined) throw new Error('writer: two flushes at a time');
    const { table } = this.#options.tier;
    if (this.#isClosed && table.count > 0) throw this.#closed();
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    table.retry();
    table.beginBarrier();
    await new Promise<void>((resolve, reject) => {
      this.#flush = { resolve, reject, lossCount: table.lossCount, failure: undefined };
      this.kick();
      if (this.#isClosed) this.#endFlushIfDone();
    });
  }

  /** Resolves when no page of the range is on its way to the image. */
  async settled(first: number, count: number): Promise<void> {
    for (const run of [...this.#runs]) if (run.pages.overlaps(first, count)) await run.ended;
  }

  /** Ends timers, and a flush that waits; writes under way end by themselves. */
  close(): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
    this.#cancelRetry?.();
    this.#flush?.reject(this.#closed());
    this.#flush = undefined;
  }

  #runsMax(): number {
    if (this.#flush !== undefined) return RUNS_WHILE_FLUSHING_MAX;
    return this.#options.inFlight.fetchCount > 0 ? RUNS_WHILE_READING_MAX : RUNS_MAX;
  }

  /** Begins a run that has `page` in it; no when there is no buffer for it. */
  #begin(page: number): boolean {
    const { buffers, pageBytes, inFlight } = this.#options;
    const bytesMax = Math.min(PIECE_BYTES, this.#granted?.dataBytes ?? PIECE_BYTES);
    const pages = this.#spare.pop() ?? this.#makePages();
    pages.gather(page, Math.floor(bytesMax / pageBytes), this.#mayCloseGaps);
    const piece = this.#granted ?? buffers.take(pages.count * pageBytes);
    this.#granted = undefined;
    if (piece === undefined) {
      this.#plan.putBack(page);
      this.#spare.push(pages);
      this.#waitForBuffer(pages.count * pageBytes);
      return false;
    }
    const at = pages.copy(page, piece);
    if (at < 0) {
      buffers.release(piece); // the page was lost in memory; the tier remembers that
      this.#spare.push(pages);
      this.#options.room.letIn();
      return true;
    }
    pages.take();
    const change = inFlight.beginChange(pages.first, pages.count);
    const run: Run = { pages, piece, at, change, ended: undefined };
    this.#runs.add(run); // before it is written: its pages are taken from now on
    run.ended = this.#write(run).then(
      (cleanFailure) => this.#succeeded(run, cleanFailure),
      (cause: unknown) => this.#failed(run, cause),
    );
    this.statistics.runs++;
    return true;
  }

  #makePages(): RunPages {
    const { tier, clean, locks, pageBytes } = this.#options;
    return new RunPages({
      ...{ tier, clean, locks, pageBytes },
      pagesMax: Math.floor(PIECE_BYTES / pageBytes),
      takeable: (page) => this.#plan.takeable(page),
    });
  }

  /** Whether somebody waits for the image, or soon will, and the image takes what it is given. */
  get #mayCloseGaps(): boolean {
    const { tier, tuning } = this.#options;
    if (!tuning.closesGaps || tier.table.troubledCount > 0) return false;
    return this.#flush !== undefined || this.#plan.isMakingRoom;
  }

  /** Whether a run has the page, though it may have been written again, or be clean. */
  #isUnderWay(page: number): boolean {
    for (const { pages } of this.#runs) if (pages.overlaps(page, 1)) return true;
    return false;
  }

  /** Writes a run; if that fails, its dirty pages without the clean ones, and resolves to the reason. */
  async #write({ pages, piece, at }: Run): Promise<unknown> {
    const { image, pageBytes } = this.#options;
    const { first, end } = pages;
    const write = (from: number, to: number): Promise<void> => {
      const offset = from * pageBytes;
      const bytes = Math.min((to - from) * pageBytes, image.virtualSizeBytes - offset);
      return image.write(piece.buffer, at + (from - first) * pageBytes, bytes, offset);
    };
    try {
      await write(first, end);
      return undefined;
    } catch (cause) {
      if (!pages.hasClean) throw cause;
      this.statistics.failures++;
      for (let from = first; from < end; from++) {
        const start = from;
        while (from < end && pages.slotOf(from) !== NO_SLOT) from++;
        if (from > start) await write(start, from);
      }
      return cause;
    }
  }

  #succeeded(run: Run, cleanFailure: unknown): void {
    const { statistics } = this;
    const { tier } = this.#options;
    const { pages } = run;
    for (let page = pages.first; page < pages.end; page++) {
      const slot = pages.slotOf(page);
      if (slot === NO_SLOT) {
        if (cleanFailure === undefined) statistics.cleanPages++;
        else this.#keepClean(page, run, cleanFailure);
        continue;
      }
      statistics.writtenPages++;
      if (!tier.written(slot, page, pages.versionOf(page))) statistics.redirtiedPages++;
    }
    // What is dirty again was durable before: a FLUSH that is answered must find it so.
    if (cleanFailure !== undefined && this.#flush !== undefined) tier.table.beginBarrier();
    if (tier.table.troubledCount === 0) this.#retryMs = RETRY_MS_MIN;
    this.#end(run);
  }

  #failed(run: Run, cause: unknown): void {
    const { tier, pageBytes, onFailure } = this.#options;
    const { pages } = run;
    for (let page = pages.first; page < pages.end; page++) {
      const slot = pages.slotOf(page);
      if (slot !== NO_SLOT) tier.table.failWrite(slot);
      else this.#keepClean(page, run, cause);
    }
    this.statistics.failures++;
    const failure =
      cause instanceof TmemError ? cause : new TmemError('io', 'writing back failed', { cause });
    this.#failure = failure;
    if (this.#flush !== undefined) this.#flush.failure ??= failure;
    const retryMs = this.#retryMs;
    if (this.#cancelRetry === undefined && !this.#isClosed) this.#retryLater();
    const [offset, length] = [pages.first * pageBytes, pages.count * pageBytes];
    onFailure({ offset, length, cause, retryMs });
    this.#end(run);
  }

  /**
   * A clean page was written along, and that failed: it is dirty from now on, for the image may have
   * lost it; but not where only space was lacking.
   */
  #keepClean(page: number, { pages, piece, at }: Run, cause: unknown): void {
    const { tier, clock, pageBytes } = this.#options;
    if (tier.has(page)) return; // written again meanwhile
    if (cause instanceof TmemError && cause.kind === 'no-space') return;
    tier.put(page, piece.buffer, at + (page - pages.first) * pageBytes, clock.now());
  }

  #retryLater(): void {
    const { tier, clock } = this.#options;
    const cancel = clock.after(this.#retryMs, () => {
      this.#cancelRetry = undefined;
      this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
      tier.table.retry();
      this.kick();
    });
    this.#cancelRetry = cancel;
  }

  #end(run: Run): void {
    const { buffers, inFlight, room } = this.#options;
    this.#runs.delete(run);
    this.#spare.push(run.pages);
    inFlight.endChange(run.change);
    buffers.release(run.piece);
    room.letIn();
    this.kick();
  }

  #waitForBuffer(bytes: number): void {
    const { buffers } = this.#options;
    this.#isWaitingForBuffer = true;
    void buffers.wait(bytes).then((piece) => {
      this.#isWaitingForBuffer = false;
      this.#granted = piece; // not given back first: others who wait would pass it round for ever
      this.kick();
      if (this.#granted === undefined) return;
      this.#granted = undefined;
      buffers.release(piece);
    });
  }

  #endFlushIfDone(): void {
    const flush = this.#flush;
    const { table } = this.#options.tier;
    if (flush === undefined || table.owedCount > 0) return;
    this.#flush = undefined;
    this.#plan.clear(); // the rest may stay
    const lostCount = Math.max(table.lostCount, table.lossCount - flush.lossCount);
    const { name } = this.#options.image;
    const failure = flush.failure ?? (lostCount > 0 ? lostPages(name, lostCount) : undefined);
    if (failure === undefined) flush.resolve();
    else flush.reject(failure);
  }

  /** Sees to it that the oldest page is looked at when it is due. */
  #setTimer(): void {
    const { tier, clock, tuning } = this.#options;
    const { oldest } = tier.table;
    if (oldest === NO_SLOT || tuning.ageMsMax === Number.POSITIVE_INFINITY) return;
    const now = clock.now();
    let due = tier.table.dirtySince(oldest) + tuning.ageMsMax;
    if (due <= now) due = now + DUE_AGAIN_MS; // what is in its way ends with a kick
    if (this.#cancelTimer !== undefined && this.#timerDue <= due) return;
    this.#cancelTimer?.();
    this.#timerDue = due;
    this.#cancelTimer = clock.after(due - now, () => {
      this.#cancelTimer = undefined;
      this.kick();
    });
  }

  #closed(): TmemError {
    const { name } = this.#options.image;
    return new TmemError('shutdown', `"${name}" is being closed; connect again to flush it`);
  }
}
