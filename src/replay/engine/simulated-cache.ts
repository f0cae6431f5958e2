/**
 * A cache of page numbers: the policy of the live cache, told of hits and misses, with nothing
 * behind it. Typed arrays by page number and by slot; no hash and no object on the path.
 */
import type { Future } from '../../policy/belady.ts';
import type { EvictionPolicy } from '../../policy/policy.ts';
import type { CountingCache } from './measure.ts';
import { type NextUses, NextUsesReader } from './next-uses.ts';
import type { PageStream } from './page-stream.ts';
import { createFamily, type PolicySpec } from './policy-specs.ts';
import type { Scan } from './run.ts';
import { bitAt, dropBitsOf } from './write-bits.ts';

export interface SimulatedCacheOptions {
  readonly spec: PolicySpec;
  /** In pages; with `charges`, in what those are counted in. */
  readonly capacity: number;
  /** What each page charges, by page number; each charges 1 if not given. */
  readonly charges?: Uint32Array | undefined;
  /** By request of the stream: when its page is used next. For policies that need it. */
  readonly nextUses?: NextUses | undefined;
  /** In the middle of the stream; not for charges, nor for policies that need the future. */
  readonly scan?: Scan | undefined;
}

export class SimulatedCache implements CountingCache {
  hits = 0;
  misses = 0;
  coldMisses = 0;
  evictions = 0;
  /** Pages that were dropped by a write. */
  invalidations = 0;
  /** By volume. */
  readonly hitsOfVolume: Float64Array;
  readonly missesOfVolume: Float64Array;
  private readonly stream: PageStream;
  private readonly scan: Scan | undefined;
  private readonly policy: EvictionPolicy;
  private readonly expects: boolean;
  private readonly capacity: number;
  private readonly charges: Uint32Array | undefined;
  private readonly future: Future = { nextUses: new Int32Array(0), now: 0 };
  private readonly nextUses: NextUsesReader | undefined;
  private readonly slotCount: number;
  /** By page: slot + 1, or 0 where the page is not in the cache. */
  private readonly slotOfPage: Int32Array;
  private readonly pageOfSlot: Int32Array;
  private readonly freeSlots: Int32Array;
  private freeCount = 0;
  private usedSlots = 0;
  /** Pages below this number were accessed before. */
  private seenPages = 0;

  constructor(stream: PageStream, options: SimulatedCacheOptions) {
    const { capacity, charges, scan } = options;
    const pageCount = stream.pageCount + (scan?.pages ?? 0);
    this.stream = stream;
    this.scan = scan;
    this.capacity = capacity;
    this.charges = charges;
    this.nextUses = options.nextUses && new NextUsesReader(options.nextUses);
    this.slotCount = charges === undefined ? Math.min(capacity, pageCount) : pageCount;
    this.slotOfPage = new Int32Array(pageCount);
    this.pageOfSlot = new Int32Array(this.slotCount);
    this.freeSlots = new Int32Array(this.slotCount);
    this.hitsOfVolume = new Float64Array(stream.volumes.length);
    this.missesOfVolume = new Float64Array(stream.volumes.length);
    const policyOptions = {
      slotCount: this.slotCount,
      capacityBytes: capacity,
      hashOf: (slot: number) => this.pageOfSlot[slot]!,
      keyCount: pageCount,
    };
    this.policy = createFamily(options.spec, policyOptions, this.future).create();
    this.expects = this.policy.expect !== undefined;
  }

  get ghostHits(): number {
    return this.policy.ghostHitCount ?? 0;
  }

  /** Whether a page is in the cache now. */
  has(page: number): boolean {
    return this.slotOfPage[page] !== 0;
  }

  /** Takes the requests of the stream from one index to before another, each once, in order. */
  run(from: number, to: number): void {
    const middle = this.stream.requestCount >>> 1;
    if (this.scan === undefined || from > middle || to <= middle) {
      this.runPart(from, to);
      return;
    }
    this.runPart(from, middle);
    this.runScan(this.scan);
    this.runPart(middle, to);
  }

  private runPart(from: number, to: number): void {
    const { stream, policy, slotOfPage, future, hitsOfVolume, missesOfVolume } = this;
    const { ids, volumeOfPage } = stream;
    const drops = dropBitsOf(stream);
    const tellsVolumes = hitsOfVolume.length > 1;
    const tellsTime = this.nextUses !== undefined;
    if (this.nextUses !== undefined) future.nextUses = this.nextUses.read(from, to);
    const maySpill = policy.surplusBytes !== undefined;
    let hits = 0;
    for (let i = from; i < to; i++) {
      const page = ids[i]!;
      if (drops !== undefined && bitAt(drops, i)) {
        this.drop(page);
        continue;
      }
      if (tellsTime) future.now = i - from;
      const slot = slotOfPage[page]! - 1;
      if (slot === -1) {
        this.miss(page);
        if (tellsVolumes) missesOfVolume[volumeOfPage[page]!]!++;
        continue;
      }
      hits++;
      policy.touch(slot);
      if (maySpill) this.spill();
      if (tellsVolumes) hitsOfVolume[volumeOfPage[page]!]!++;
    }
    this.hits += hits;
  }

  /** The pages of a scan have the numbers behind those of the stream. */
  private runScan({ pages, touches }: Scan): void {
    const { policy, slotOfPage, misses, coldMisses, seenPages, evictions } = this;
    const { pageCount } = this.stream;
    const maySpill = policy.surplusBytes !== undefined;
    for (let page = pageCount; page < pageCount + pages; page++) {
      for (let touch = 0; touch < touches; touch++) {
        const slot = slotOfPage[page]! - 1;
        if (slot === -1) this.miss(page);
        else policy.touch(slot);
        if (maySpill) this.spill();
      }
    }
    this.misses = misses;
    this.coldMisses = coldMisses;
    this.seenPages = seenPages;
    this.evictions = evictions;
  }

  private miss(page: number): void {
    this.misses++;
    if (page === this.seenPages) {
      this.coldMisses++;
      this.seenPages++;
    }
    const charge = this.charges === undefined ? 1 : this.charges[page]!;
    if (charge > this.capacity) return;
    const { policy } = this;
    if (this.expects) policy.expect!(page);
    if (this.charges === undefined) {
      if (this.usedSlots - this.freeCount >= this.capacity) this.evict();
    } else {
      while (policy.chargedBytes + charge > this.capacity) this.evict();
    }
    const slot = this.freeCount > 0 ? this.freeSlots[--this.freeCount]! : this.usedSlots++;
    this.slotOfPage[page] = slot + 1;
    this.pageOfSlot[slot] = page;
    policy.insert(slot, charge, page);
  }

  private evict(): void {
    const slot = this.policy.evict();
    if (slot === -1)
      throw new Error(`policy ${this.policy.name}: nothing to evict in a full cache`);
    this.free(slot);
    this.evictions++;
  }

  private spill(): void {
    while (this.policy.surplusBytes! > 0) this.evict();
  }

  private drop(page: number): void {
    const slot = this.slotOfPage[page]! - 1;
    if (slot === -1) return;
    this.policy.remove(slot);
    this.free(slot);
    this.invalidations++;
  }

  private free(slot: number): void {
    this.slotOfPage[this.pageOfSlot[slot]!] = 0;
    this.freeSlots[this.freeCount++] = slot;
  }
}
