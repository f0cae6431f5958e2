/**
 * What another amount of memory, or another policy, would do for one export: found out while it is
 * served, from a sample of the pages that are asked for. A page whose hash is not in the sample costs
 * that hash. Those that are feed the miss-ratio curve of LRU (fixed-size SHARDS) and shadows: the
 * configured policy with parts and multiples of the memory, and another policy with the same.
 *
 * Whether the method can be trusted here is told by the shadow of the same size: what it misses is
 * set against what was really missed.
 */

import { HASH_RANGE, spreadHash } from '../curves/page-hash.ts';
import { FixedSizeShards } from '../curves/shards.ts';
import type { PolicyName } from '../policy/policies.ts';
import { type AdvisorSize, FACTOR_MAX, MEMORY_FACTORS } from './budget.ts';
import { type Found, reportOf } from './estimates.ts';
import { MemorySize } from './memory-size.ts';
import type { AdvisorReport } from './report.ts';
import { CLASSES, Shadow } from './shadow.ts';
import { rivalOf } from './shadow-policies.ts';

/** The cache that is advised on, as it is now. */
export interface AdvisedCache {
  readonly pageBytes: number;
  /** Whether the page is in memory. */
  has(page: number): boolean;
  /** Pages in memory that are charged to the export, one in two layers twice. */
  heldPages(): number;
  /** What each of those charges on average, metadata included, bytes; above 0. */
  chargeBytes(): number;
  /** Bytes that the export could have besides, before a page has to leave. */
  freeBytes(): number;
  /**
   * Pages that the image was read for beside those that reads missed: read ahead and come to, less
   * those that a reader got from another's read.
   */
  aheadPages(): number;
}

export interface AdvisorOptions {
  readonly policy: PolicyName;
  readonly size: AdvisorSize;
  readonly cache: AdvisedCache;
  /** Default 32,768: after so many sampled reads all counts are halved. */
  readonly epochReads?: number;
  /** By another salt, a u32, other pages are sampled. Default a number of no meaning. */
  readonly salt?: number;
  /** The first so many accesses are all sampled, as far as the shadows have room. Default 262,144. */
  readonly youngAccesses?: number;
}

const SALT = 0x6b43_a9b5;
const EPOCH_READS = 32_768;
/**
 * The largest share of the pages that is sampled, once it is not young any more: a sampled page may
 * cost as much as eight hashes then before it counts double.
 */
const RATE_MAX = 1 / 8;
const RATE_MIN = 2 ** -20;
/**
 * The first accesses are all sampled, so that there is soon something to say, and so that a disk
 * that is rarely read is followed closely; then the rate falls by half whenever their number doubles.
 */
const YOUNG_ACCESSES = 2 ** 18;
/**
 * After so many accesses the shadows are fitted to what memory the export has by then: soon, since
 * only pages that are held tell how well they compress, then whenever their number doubles, up to
 * that.
 */
const FIT_ACCESSES_MIN = 2 ** 10;
const FIT_ACCESSES_MAX = 2 ** 16;
/** Longer ranges are not followed page by page: their pages age out. */
const DROP_PAGES_MAX = 16_384;

export class Advisor {
  private readonly policy: PolicyName;
  private readonly cache: AdvisedCache;
  private readonly epochReads: number;
  private readonly salt: number;
  private readonly youngAccesses: number;
  private readonly curve: FixedSizeShards;
  private readonly memory: MemorySize;
  /** Of `MEMORY_FACTORS`. */
  private readonly sizes: readonly Shadow[];
  private readonly shadows: readonly Shadow[];
  private readonly shadowPages: number;
  /** Hashes below are sampled: for the shadows, and for them or the curve. */
  private shadowThreshold = HASH_RANGE;
  private threshold = HASH_RANGE;
  private rate = 1;
  private weight = 1;
  private accesses = 0;
  private fitAt = 0;
  /**
   * Pages read, those of past epochs halved; how many were missed; how many were sampled, negative
   * while shadows that began anew get their pages.
   */
  private reads = 0;
  private missed = 0;
  private sampledReads = 0;
  private epochLeft: number;
  /** What `aheadPages` said when it was last added to `missed`. */
  private aheadBefore: number;

  constructor(options: AdvisorOptions) {
    const { policy, size, cache } = options;
    this.policy = policy;
    this.cache = cache;
    this.epochReads = options.epochReads ?? EPOCH_READS;
    this.epochLeft = this.epochReads;
    this.salt = options.salt ?? SALT;
    this.youngAccesses = options.youngAccesses ?? YOUNG_ACCESSES;
    this.aheadBefore = cache.aheadPages();
    this.curve = new FixedSizeShards({ samples: size.samples, classes: CLASSES });
    this.shadowPages = size.shadowPages;
    this.sizes = MEMORY_FACTORS.map(
      (factor) => new Shadow(policy, (size.shadowPages * factor) / FACTOR_MAX),
    );
    const rival = new Shadow(rivalOf(policy), size.shadowPages / FACTOR_MAX);
    this.shadows = [...this.sizes, rival];
    this.memory = new MemorySize(cache);
    this.fit();
  }

  /** Hears of a read of `count` pages from `first`, of which memory did not hold `missing`. */
  noteRead(first: number, count: number, missing: number): void {
    this.reads += count;
    this.missed += missing;
    const { threshold, salt } = this;
    for (let page = first; page < first + count; page++) {
      const hash = spreadHash(page, salt);
      if (hash < threshold) this.sampleRead(page, hash);
    }
    this.countAccesses(count);
  }

  /** Hears of a write of whole pages that stay in memory. */
  noteWrite(first: number, count: number): void {
    const { threshold, salt } = this;
    for (let page = first; page < first + count; page++) {
      const hash = spreadHash(page, salt);
      if (hash < threshold) this.sampleWrite(page, hash);
    }
    this.countAccesses(count);
  }

  /** Hears of pages that leave memory because they changed. */
  noteDrop(first: number, count: number): void {
    if (count > DROP_PAGES_MAX) return;
    const { threshold, salt } = this;
    for (let page = first; page < first + count; page++) {
      const hash = spreadHash(page, salt);
      if (hash < threshold) this.sampleDrop(hash);
    }
  }

  /** All that is known now; costs a fraction of a millisecond. */
  report(): AdvisorReport {
    this.curve.references = this.reads;
    this.countAhead();
    return reportOf(this.found());
  }

  /** Bytes that the policies of the shadows take now; what is beside them is fixed. */
  get policyBytes(): number {
    return this.shadows.reduce((sum, { policyBytes }) => sum + policyBytes, 0);
  }

  private found(): Found {
    return {
      policy: this.policy,
      reads: this.reads,
      sampledReads: Math.max(0, this.sampledReads),
      uncountedReads: Math.max(0, -this.sampledReads),
      missed: this.missed,
      rate: this.rate,
      memoryPages: this.memory.pages,
      chargeBytes: this.memory.chargeBytes,
      pageBytes: this.cache.pageBytes,
      sizes: this.sizes,
      rival: this.shadows[this.shadows.length - 1]!,
      curve: this.curve,
    };
  }

  private sampleRead(page: number, hash: number): void {
    this.curve.note(hash);
    if (hash >= this.shadowThreshold) return;
    const { shadows, weight } = this;
    const classIndex = Math.floor((hash / this.shadowThreshold) * CLASSES);
    for (let i = 0; i < shadows.length; i++) shadows[i]!.read(page, hash, weight, classIndex);
    if (++this.sampledReads === 0) this.beginCounting();
    else if (--this.epochLeft <= 0) this.endEpoch();
  }

  private sampleWrite(page: number, hash: number): void {
    this.curve.use(hash);
    if (hash >= this.shadowThreshold) return;
    const { shadows } = this;
    for (let i = 0; i < shadows.length; i++) shadows[i]!.write(page, hash);
  }

  private sampleDrop(hash: number): void {
    this.curve.drop(hash);
    if (hash >= this.shadowThreshold) return;
    const { shadows } = this;
    for (let i = 0; i < shadows.length; i++) shadows[i]!.drop(hash);
  }

  private countAccesses(count: number): void {
    this.accesses += count;
    if (this.accesses >= this.fitAt) this.fit();
  }

  private countAhead(): void {
    const ahead = this.cache.aheadPages();
    this.missed += ahead - this.aheadBefore;
    this.aheadBefore = ahead;
  }

  private endEpoch(): void {
    this.epochLeft = this.epochReads;
    this.countAhead();
    this.curve.references = this.reads;
    this.curve.scale(0.5);
    for (const shadow of this.shadows) shadow.halve();
    this.reads /= 2;
    this.missed /= 2;
    this.sampledReads /= 2;
  }

  /** Gives the shadows what the export has now, scaled by the rate, and the rate that goes with it. */
  private fit(): void {
    const { accesses } = this;
    this.fitAt = accesses + Math.min(FIT_ACCESSES_MAX, Math.max(FIT_ACCESSES_MIN, accesses));
    const largest = this.sizes[this.sizes.length - 1]!;
    const pages = this.memory.read(largest.pages, this.rate);
    this.setRate(pages);
    this.curve.followAtMost(this.rateLimit);
    this.threshold = Math.max(this.shadowThreshold, this.curve.rate * HASH_RANGE);
    for (const [i, shadow] of this.sizes.entries()) {
      shadow.setCapacity(pages * this.rate * MEMORY_FACTORS[i]!);
    }
    this.shadows[this.shadows.length - 1]!.setCapacity(pages * this.rate);
  }

  private get rateLimit(): number {
    const { accesses, youngAccesses } = this;
    if (accesses < youngAccesses) return 1;
    return Math.max(RATE_MAX, 2 ** -Math.ceil(Math.log2((accesses + 1) / youngAccesses)));
  }

  /** The largest rate at which the shadows have room; it rises only where they are half empty. */
  private setRate(pages: number): void {
    const { rateLimit, shadowPages } = this;
    const largest = FACTOR_MAX * pages;
    let { rate } = this;
    while (rate > RATE_MIN && (largest * rate > shadowPages || rate > rateLimit)) rate /= 2;
    while (rate * 2 <= rateLimit && largest * rate * 4 <= shadowPages) rate *= 2;
    if (rate === this.rate) return;
    const isSmaller = rate < this.rate;
    this.rate = rate;
    this.weight = 1 / rate;
    this.shadowThreshold = rate * HASH_RANGE;
    if (isSmaller) {
      for (const shadow of this.shadows) shadow.keepBelow(this.shadowThreshold);
      return;
    }
    // The shadows know nothing of the pages that are sampled from now on. What they miss until the
    // largest may be full is what the cache has long since, and is not counted.
    for (const shadow of this.shadows) shadow.clear();
    this.beginCounting();
    this.sampledReads = -Math.ceil(largest * rate);
    this.epochLeft = Number.POSITIVE_INFINITY;
  }

  private beginCounting(): void {
    for (const shadow of this.shadows) shadow.misses.fill(0);
    this.curve.scale(0); // its counts are of the reads that are forgotten
    this.countAhead();
    this.reads = 0;
    this.missed = 0;
    this.sampledReads = 0;
    this.epochLeft = this.epochReads;
  }
}
