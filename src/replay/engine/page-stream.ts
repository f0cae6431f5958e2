/**
 * A trace as the pages it uses: requests split into pages, pages numbered densely, one 32-bit
 * number for each access, on memory that all simulations share. Besides that memory, reading takes
 * no more than the pages' names, 4 bytes each, or 8 where one is from 2^32, and 2 where there are
 * volumes; and 7 to 14 while they are being numbered.
 */
import { refuse, TmemError } from '../../lib/errors.ts';
import { turnOfTheLoop } from '../../lib/turn-of-the-loop.ts';
import { OP, type RequestBatch } from '../../trace/request-batch.ts';
import type { Trace } from '../../trace/trace.ts';
import { GrowingBits, GrowingIds, SHARED_BYTES_MAX } from './growing-ids.ts';
import { hashPage, PageIds, VOLUMES_MAX } from './page-ids.ts';
import { TimeIndex } from './time-index.ts';

/**
 * What the operations of a trace do to a cache. `reads`: only reads are accesses, the rest is left
 * out. `all`: writes and write-zeroes are accesses like reads; trims and flushes are left out.
 * `writes-invalidate`: reads are accesses; writes, write-zeroes and trims drop the pages.
 */
export type OpsMode = 'reads' | 'all' | 'writes-invalidate';

/** All of them, as `--ops` lists them. */
export const OPS_MODES: readonly OpsMode[] = ['reads', 'all', 'writes-invalidate'];

/** How requests become accesses. */
export interface PageStreamOptions {
  /**
   * Bytes a page, at least 1: the unit of the cache. Default 4096. A trace of keys is not split;
   * there each key is a page of that size.
   */
  readonly pageBytes?: number;
  /** Default `all`. */
  readonly ops?: OpsMode;
  /** Share of the pages to look at, above 0 to 1, chosen by a hash of their name. Default 1. */
  readonly sampleRate?: number;
  /** Ends the reading, with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** The accesses of a trace. Everything is on shared memory and can be sent to a worker as it is. */
export interface PageStream {
  readonly traceName: string;
  /** Whether the trace may be read again: false for a pipe. */
  readonly canRereads: boolean;
  readonly ops: OpsMode;
  /** Bytes of a page, also where each key of a trace of keys stands for one. */
  readonly pageBytes: number;
  readonly sampleRate: number;
  /** The page of each access, and of each invalidation, in order. */
  readonly ids: Int32Array;
  /** Length of `ids`. */
  readonly requestCount: number;
  /** Accesses among them: all but the invalidations. */
  readonly accessCount: number;
  /** Distinct pages; an id is below this. Ids are given in the order of the first access. */
  readonly pageCount: number;
  /**
   * A bit for each of `ids`, 32 in a word, the lowest first: whether it is a write. With
   * `writes-invalidate` these are the invalidations. Undefined where there is none.
   */
  readonly writeBits: Int32Array | undefined;
  /** Names of the volumes. */
  readonly volumes: readonly string[];
  /** Number of the volume, by page. */
  readonly volumeOfPage: Uint16Array;
  /** Number of the page in its volume, by page; the key, in a trace of keys. */
  readonly numberOfPage: Float64Array | Uint32Array;
  /** Microseconds on the trace's clock of every `timeStride`-th of `ids`, from the first. */
  readonly times: Float64Array;
  readonly timeStride: number;
  /** Microseconds of the first and of the last request that was looked at; 0 for an empty one. */
  readonly firstTimeUs: number;
  readonly lastTimeUs: number;
}

/** What the building of a stream needs of a trace. */
export type PageSource = Pick<Trace, 'name' | 'unit' | 'volumes' | 'canRereads' | 'batches'>;

/** One request may use no more pages than this: a longer one is a broken trace. */
const PAGES_PER_REQUEST_MAX = 1 << 22;
/** After so many uses of pages without a break there is one: a fraction of a second. */
const PAGES_PER_TURN = 1 << 20;
/** Ids are on shared memory that can be no larger. */
const REQUESTS_MAX = SHARED_BYTES_MAX / 4;

/**
 * Reads a trace to its end. Throws a `TmemError` for options out of range, for a trace with more
 * volumes or pages than can be numbered, and what reading throws.
 */
export async function buildPageStream(
  trace: PageSource,
  options: PageStreamOptions = {},
): Promise<PageStream> {
  const builder = new PageStreamBuilder(trace, options);
  for await (const batch of trace.batches()) {
    for (let at = builder.add(batch, 0); at < batch.count; at = builder.add(batch, at)) {
      await turnOfTheLoop(); // signals are heard between
      options.signal?.throwIfAborted();
    }
  }
  return builder.finish();
}

/** Turns batches into a stream, one after the other. */
class PageStreamBuilder {
  private readonly trace: PageSource;
  private readonly pageBytes: number;
  /** What offsets are divided by to be numbers of pages. */
  private readonly splitBytes: number;
  private readonly ops: OpsMode;
  private readonly sampleRate: number;
  private readonly sampleBelow: number;
  private readonly pages = new PageIds();
  private readonly ids = new GrowingIds();
  private readonly writes = new GrowingBits();
  private readonly times = new TimeIndex();
  private firstTimeUs = Number.NaN;
  private lastTimeUs = 0;

  constructor(trace: PageSource, options: PageStreamOptions = {}) {
    const { pageBytes = 4096, ops = 'all', sampleRate = 1 } = options;
    if (!(Number.isInteger(pageBytes) && pageBytes >= 1)) {
      refuse(`a page of ${pageBytes} bytes cannot be; choose a whole number such as 4096`);
    }
    if (!(sampleRate > 0 && sampleRate <= 1)) {
      refuse(`a share of ${sampleRate} of the pages cannot be sampled; choose from above 0 to 1`);
    }
    this.trace = trace;
    this.pageBytes = pageBytes;
    this.splitBytes = trace.unit === 'keys' ? 1 : pageBytes;
    this.ops = ops;
    this.sampleRate = sampleRate;
    this.sampleBelow = sampleRate * 0x1_0000_0000;
  }

  /** Length of the stream so far. */
  get requestCount(): number {
    return this.ids.length;
  }

  /**
   * Takes requests of a batch, from number `from` on, as many as one turn of the event loop may;
   * nothing of it is kept. Answers where to go on, or the batch's count.
   */
  add(batch: RequestBatch, from: number): number {
    const { offset, length, volume, op, timeUs, count } = batch;
    const { splitBytes } = this;
    let pages = 0;
    for (let i = from; i < count; i++) {
      if (pages >= PAGES_PER_TURN) return i;
      const bytes = length[i]!;
      const kind = op[i]!;
      const isWrite = kind === OP.write || kind === OP.zero;
      const isDrop = this.ops === 'writes-invalidate' && (isWrite || kind === OP.trim);
      const isAccess = kind === OP.read || (isWrite && this.ops === 'all');
      if (bytes === 0 || !(isAccess || isDrop)) continue;
      if (Number.isNaN(this.firstTimeUs)) this.firstTimeUs = timeUs[i]!;
      this.lastTimeUs = timeUs[i]!;
      const start = offset[i]!;
      const first = Math.floor(start / splitBytes);
      const last = Math.floor((start + bytes - 1) / splitBytes);
      if (volume[i]! >= VOLUMES_MAX) {
        refuse(`the trace has more than ${VOLUMES_MAX} volumes; cut it by volume first`);
      }
      pages += last - first + 1;
      if (isDrop) this.drop(volume[i]!, first, last);
      else this.access(volume[i]!, first, last, isWrite);
    }
    return count;
  }

  /** The stream; the builder is of no use afterwards. */
  finish(): PageStream {
    const { pages, writes, times } = this;
    pages.freeze();
    const requestCount = this.ids.length;
    const hasDrops = this.ops === 'writes-invalidate';
    return {
      traceName: this.trace.name,
      canRereads: this.trace.canRereads,
      ops: this.ops,
      pageBytes: this.pageBytes,
      sampleRate: this.sampleRate,
      ids: this.ids.finish(),
      requestCount,
      accessCount: hasDrops ? requestCount - writes.count : requestCount,
      pageCount: pages.count,
      writeBits: writes.count === 0 ? undefined : writes.finish(requestCount),
      volumes: [...this.trace.volumes],
      volumeOfPage: pages.pageVolumes,
      numberOfPage: pages.pageNumbers,
      times: times.finish(),
      timeStride: times.stride,
      firstTimeUs: Number.isNaN(this.firstTimeUs) ? 0 : this.firstTimeUs,
      lastTimeUs: this.lastTimeUs,
    };
  }

  private access(volume: number, first: number, last: number, isWrite: boolean): void {
    if (last - first >= PAGES_PER_REQUEST_MAX) {
      throw new TmemError(
        'invalid',
        `a request of ${last - first + 1} pages after ${this.requestCount} accesses is too long; ` +
          'check the unit of lengths, or take larger pages',
      );
    }
    for (let page = first; page <= last; page++) {
      const hash = hashPage(volume, page);
      if (hash >= this.sampleBelow) continue;
      const id = this.pages.add(volume, page, hash);
      if (isWrite) this.writes.set(this.requestCount);
      this.push(id);
    }
  }

  /** Pages never read are in no cache, and need no number to be dropped. */
  private drop(volume: number, first: number, last: number): void {
    if (last - first < PAGES_PER_REQUEST_MAX) {
      for (let page = first; page <= last; page++) {
        this.dropId(this.pages.find(volume, page, hashPage(volume, page)));
      }
      return;
    }
    const { pageNumbers, pageVolumes } = this.pages;
    for (let id = 0; id < pageNumbers.length; id++) {
      const page = pageNumbers[id]!;
      if (pageVolumes[id] === volume && page >= first && page <= last) this.dropId(id);
    }
  }

  private dropId(id: number): void {
    if (id === -1) return;
    this.writes.set(this.requestCount);
    this.push(id);
  }

  private push(id: number): void {
    if (this.ids.length >= REQUESTS_MAX) {
      refuse(`the trace has more than ${REQUESTS_MAX} accesses; cut or sample it first`);
    }
    this.times.note(this.ids.length, this.lastTimeUs);
    this.ids.push(id);
  }
}
