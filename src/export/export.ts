/**
 * An export: one image behind one cache, as the clients of a server see it. It reads through
 * `PageReads` and writes by the path of its mode; both see the same pages and know what is under
 * way, so that no reader finds an older page than was acknowledged.
 *
 * Ranges are bytes and lie inside the export: the caller has checked.
 */

import type { BlockImage } from '../image/image.ts';
import type { BufferPool, Buffers, PooledBuffer } from '../lib/buffer-pool.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { TmemError } from '../lib/errors.ts';
import type { Cleancache } from '../tmem/cleancache.ts';
import type { Frontswap } from '../tmem/frontswap.ts';
import type { Pool } from '../tmem/pool.ts';
import type { AccessWatcher } from './access-watcher.ts';
import { InFlight } from './in-flight.ts';
import { type BaseImage, ChainPages } from './pages/chain-pages.ts';
import type { CleanPages } from './pages/clean-pages.ts';
import { DirtyTier } from './pages/dirty-tier.ts';
import { PageOwners } from './pages/page-owners.ts';
import { ExportPages } from './pages/pages.ts';
import { Extents } from './reads/extents.ts';
import { PageReads, type ReadStatistics } from './reads/page-reads.ts';
import { WriteBack } from './writes/write-back.ts';
import type { WritePath } from './writes/write-path.ts';
import { WriteThrough } from './writes/write-through.ts';
import type { WriteFailure } from './writes/writer.ts';
import type { WriterTuning } from './writes/writer-plan.ts';

/**
 * What becomes of a write; see docs/architecture.md, "Write modes". A swap device is written back
 * only when memory is short, and promises nothing beyond the life of the service.
 */
export type WriteMode = 'read-only' | 'writethrough' | 'writearound' | 'writeback' | 'swap';

/** What only write-back needs. */
export interface WriteBackParts {
  readonly frontswap: Frontswap;
  /** Dirty pages that there may be. */
  readonly limitPages: number;
  /** Buffers for the writers of all exports, apart from those of requests. */
  readonly buffers: BufferPool;
  readonly tuning: WriterTuning;
  readonly onFailure: (failure: WriteFailure) => void;
  /** Default the clock of this machine. */
  readonly clock?: Clock;
}

export interface ExportOptions {
  readonly name: string;
  readonly image: BlockImage;
  /** Of the pages that the image itself holds. */
  readonly cache: Cleancache;
  /** Of an image with a backing image, all those below it; see `BaseImages`. */
  readonly bases?: readonly BaseImage[] | undefined;
  /** Who of them holds which page; default a table of at most 4 MiB. */
  readonly owners?: PageOwners | undefined;
  /** Shared by all exports. */
  readonly buffers: BufferPool;
  readonly mode: WriteMode;
  /** Must be there for the modes `writeback` and `swap`, and for no other. */
  readonly writeBack?: WriteBackParts | undefined;
}

/** The table of who holds which page of an image with a backing image: so many bytes at most. */
const OWNERS_BYTES_MAX = 4 * 1024 * 1024;

/** Between two attempts of a drain. */
const DRAIN_PAUSE_MS = 500;

export class Export {
  readonly name: string;
  readonly mode: WriteMode;
  readonly sizeBytes: number;
  readonly pageBytes: number;
  readonly image: BlockImage;
  readonly cache: Cleancache;
  readonly pages: ExportPages;
  readonly reads: PageReads;
  readonly extents: Extents;
  /** For data of its clients on their way; other exports share the pool. */
  readonly buffers: Buffers;
  /** Only in the modes `writeback` and `swap`. */
  readonly writeBack: WriteBack | undefined;

  readonly #writes: WritePath;
  readonly #inFlight: InFlight;
  #sync: Promise<void> | undefined;
  #nextSync: Promise<void> | undefined;

  constructor(options: ExportOptions) {
    const { image, cache: own, mode, writeBack } = options;
    const cache = cleanPagesOf(options);
    this.name = options.name;
    this.mode = mode;
    this.image = image;
    this.cache = own;
    this.sizeBytes = image.virtualSizeBytes;
    this.pageBytes = cache.pageBytes;
    const buffers = options.buffers.shared();
    this.buffers = buffers;
    const inFlight = new InFlight(this.pageBytes);
    this.#inFlight = inFlight;
    if ((mode === 'writeback' || mode === 'swap') !== (writeBack !== undefined)) {
      throw new Error(`export: the mode ${mode} does not go with its parts`);
    }
    const tier = writeBack && new DirtyTier(writeBack.frontswap, cache, writeBack.limitPages);
    this.pages = new ExportPages(cache, tier);
    this.reads = new PageReads({ image, pages: this.pages, inFlight, buffers });
    this.extents = new Extents(image, tier, this.pageBytes);
    if (writeBack === undefined || tier === undefined) {
      const fillsCache = mode !== 'writearound';
      this.#writes = new WriteThrough({ image, cache, inFlight, fillsCache });
      return;
    }
    this.writeBack = new WriteBack({
      ...{ image, tier, inFlight, pages: this.pages },
      writerBuffers: writeBack.buffers,
      clock: writeBack.clock ?? systemClock,
      tuning: writeBack.tuning,
      onFailure: writeBack.onFailure,
    });
    this.#writes = this.writeBack;
  }

  get isReadOnly(): boolean {
    return this.mode === 'read-only';
  }

  /** Whether a FLUSH can be promised: then everything is on stable storage when it is answered. */
  get isDurable(): boolean {
    return this.mode !== 'swap';
  }

  /** Bytes of pages that were acknowledged and that the image does not have yet. */
  get dirtyBytes(): number {
    return (this.writeBack?.tier.table.count ?? 0) * this.pageBytes;
  }

  /** Where those pages are; undefined where writes go through. */
  get dirtyPool(): Pool | undefined {
    return this.writeBack?.tier.frontswap.pool;
  }

  get statistics(): Readonly<ReadStatistics> {
    return this.reads.statistics;
  }

  /** As `WritePath.tryWrite`. */
  tryWrite(
    offset: number,
    length: number,
    src: Buffer,
    srcOffset: number,
  ): boolean | Promise<void> {
    const outcome = this.#writes.tryWrite(offset, length, src, srcOffset);
    if (outcome !== false && this.reads.watcher !== undefined) this.#noteWrite(offset, length);
    return outcome;
  }

  /** As `WritePath.write`. */
  write(offset: number, length: number, piece: PooledBuffer): Promise<void> {
    if (this.reads.watcher !== undefined) this.#noteWrite(offset, length);
    return this.#writes.write(offset, length, piece);
  }

  /** The range reads as zeros afterwards; see `Storage.writeZeroes`. */
  writeZeroes(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast = false,
  ): Promise<void> {
    if (this.reads.watcher !== undefined) this.#noteDrop(offset, length);
    return this.#writes.writeZeroes(offset, length, mayDiscard, mustBeFast);
  }

  /** The range is no longer needed: it leaves memory, and the medium where it can. */
  trim(offset: number, length: number): Promise<void> {
    if (this.reads.watcher !== undefined) this.#noteDrop(offset, length);
    return this.#writes.trim(offset, length);
  }

  /**
   * Resolves when every change that was answered before the call is on stable storage. Callers who
   * come while a sync runs share the next one.
   */
  sync(): Promise<void> {
    if (this.isReadOnly || !this.isDurable) return Promise.resolve();
    if (this.#sync === undefined) {
      this.#sync = this.#writes.sync().finally(() => {
        this.#sync = undefined;
      });
      return this.#sync;
    }
    this.#nextSync ??= this.#sync
      .catch(() => undefined) // who asked for that one hears of it
      .then(() => {
        this.#nextSync = undefined;
        return this.sync();
      });
    return this.#nextSync;
  }

  /** Whether a sync is under way. */
  get isSyncing(): boolean {
    return this.#sync !== undefined;
  }

  /**
   * Syncs, again after every failure, until all that was written before is on stable storage.
   * Rejects with the last failure when `signal` is aborted before, or when no further try can help.
   */
  async drain(signal: AbortSignal): Promise<void> {
    let onAbort = (): void => undefined;
    const aborted = new Promise<'aborted'>((resolve) => {
      onAbort = () => resolve('aborted');
      signal.addEventListener('abort', onAbort, { once: true });
    });
    try {
      await this.#syncUntil(aborted, signal);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #syncUntil(aborted: Promise<'aborted'>, signal: AbortSignal): Promise<void> {
    for (let failure: unknown; ; ) {
      const attempt = this.sync().then(
        () => 'done' as const,
        (cause: unknown) => {
          failure = cause;
          return 'failed' as const;
        },
      );
      if (signal.aborted || (await Promise.race([attempt, aborted])) === 'aborted') {
        throw failure ?? new TmemError('io', `"${this.name}" could not be written in time`);
      }
      if ((await attempt) === 'done') return;
      if (this.#isBeyondHelp(failure)) throw failure;
      const pause = new Promise((resolve) => setTimeout(resolve, DRAIN_PAUSE_MS).unref());
      await Promise.race([pause, aborted]);
    }
  }

  /** Whether no further try can help: what is unwritten is lost, or needs a sync as all the rest does. */
  #isBeyondHelp(failure: unknown): boolean {
    if (this.writeBack === undefined) return isFinal(failure);
    const { tier, writer } = this.writeBack;
    const { count, lostCount } = tier.table;
    if (count === lostCount) return count > 0 || isFinal(failure);
    return isFinal(failure) && isFinal(writer.failure);
  }

  /** Has `watcher` hear of every range of pages that is about to change; undefined ends that. */
  watchChanges(watcher: ((first: number, count: number) => void) | undefined): void {
    this.#inFlight.onChange = watcher;
  }

  /** Has `watcher` hear which pages clients ask for; undefined ends that. */
  watchAccesses(watcher: AccessWatcher | undefined): void {
    this.reads.watcher = watcher;
  }

  /** Ends what goes on by itself; nothing is asked of the export afterwards. */
  close(): void {
    this.#writes.close();
  }

  #noteWrite(offset: number, length: number): void {
    if (this.mode === 'writearound') {
      this.#noteDrop(offset, length);
      return;
    }
    const { pageBytes } = this;
    const first = Math.floor(offset / pageBytes);
    const end = Math.ceil((offset + length) / pageBytes);
    // Write-through keeps only what was written whole.
    const keepsParts = this.writeBack !== undefined;
    const firstKept = keepsParts ? first : Math.ceil(offset / pageBytes);
    const endKept = keepsParts ? end : Math.floor((offset + length) / pageBytes);
    if (endKept > firstKept) this.reads.watcher?.noteWrite(firstKept, endKept - firstKept);
    if (first < firstKept) this.reads.watcher?.noteDrop(first, 1);
    if (end > endKept && end > firstKept) this.reads.watcher?.noteDrop(end - 1, 1);
  }

  #noteDrop(offset: number, length: number): void {
    const first = Math.floor(offset / this.pageBytes);
    const end = Math.ceil((offset + length) / this.pageBytes);
    this.reads.watcher?.noteDrop(first, end - first);
  }
}

function cleanPagesOf({ image, cache, bases = [], owners }: ExportOptions): CleanPages {
  if (bases.length === 0) return cache;
  const table = owners ?? new PageOwners(OWNERS_BYTES_MAX);
  return new ChainPages({ image, cache, bases, owners: table });
}

/** Bytes of tables that an export of the image keeps beside its pages. */
export function ownersBytesOf(image: BlockImage, pageBytes: number): number {
  if (image.backing === undefined) return 0;
  return PageOwners.bytesFor(Math.ceil(image.virtualSizeBytes / pageBytes), OWNERS_BYTES_MAX);
}

/** Whether the disk will answer so to every sync, and to every write that needs one. */
function isFinal(failure: unknown): boolean {
  return failure instanceof TmemError && failure.context.isFinal === true;
}
