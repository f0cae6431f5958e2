/**
 * S3-FIFO by bytes, with a correlated-reference window: the default policy.
 *
 * S3-FIFO (Yang et al., SOSP'23, algorithm 1): a page enters a small FIFO queue; used there, it
 * moves on to the main queue, unused it leaves and stays known as a ghost; a page that returns
 * while its ghost is known enters main at once. Main is a FIFO that gives used pages another
 * round. A hit only counts, it moves nothing.
 *
 * The window: guests touch a page several times in a row (unaligned requests, small sequential
 * reads, read-ahead), and that is one use, not a reason to keep the page. As in 2Q and LRU-K, a
 * hit soon after the page came in does not count; "soon" is measured in insertions. In a service hits
 * count for an eighth of one: else what came in last would be on trial, however often it is used, until
 * something else comes; and if that is a scan, it would have to go.
 */
import { ExactGhost } from './parts/exact-ghost.ts';
import { type Ghost, GhostMemory, GhostTable, tickShiftFor } from './parts/ghost.ts';
import { SlotQueue } from './parts/slot-queue.ts';
import {
  assertCharge,
  type EvictionPolicy,
  type PolicyFamily,
  type PolicyOptions,
  sweepLimitOf,
  throwSlotState,
} from './policy.ts';

/** The numbers of the policy, as shares and counts. */
export interface S3FifoCwTuning {
  /** Share of the capacity that the small queue gets; main has the rest. */
  readonly smallShare: number;
  /** Ghosts, as a share of the pages that the capacity holds. */
  readonly ghostShare: number;
  /** Counted hits (1 to 3) that a page needs in the small queue to move on to main. */
  readonly promoteAtHits: number;
  /** Window as a share of the pages that the small queue's capacity holds. */
  readonly windowShare: number;
  /** Least window in insertions, cut to half of the small queue's pages where those are few. */
  readonly windowMinInsertions: number;
  /** So many hits pass the time as one insertion does; 0 for none. */
  readonly hitsPerInsertion: number;
  /** Where fewer pages than this fit, a tenth of them is no queue; all enter main (CLOCK). */
  readonly clockBelowPages: number;
  /** Pages that one `evict` looks at per queue before it settles for the coldest of them. */
  readonly sweepLimit: number;
}

/** The values in use: measured on recorded block traces, where shares nearby differ little. */
export const S3FIFO_CW_DEFAULTS: S3FifoCwTuning = {
  smallShare: 0.1,
  ghostShare: 0.9,
  promoteAtHits: 1,
  windowShare: 0.25,
  windowMinInsertions: 64,
  hitsPerInsertion: 8,
  clockBelowPages: 32,
  sweepLimit: 512,
};

// A state byte: two bits of counted hits, two of queue, four of the charge's high bits.
const HITS = 0b0011;
const IN_SMALL = 0b0100;
const IN_MAIN = 0b1000;
const IN_QUEUE = IN_SMALL | IN_MAIN;
const CHARGE_HIGH = 0xf0;
/** Links 8, state 1, low half of the charge 2, stamp 2. */
const BYTES_PER_SLOT = 13;
const TICK_MASK = 0xffff;

/** A cache remembers no more ghosts than this for each page held: so many would not fit. */
const GHOSTS_PER_PAGE_MAX = 2;

/** What the policies of a layer keep for every slot, 13 bytes, and the memory of their ghosts. */
export class S3FifoCwFamily implements PolicyFamily {
  readonly options: PolicyOptions;
  readonly tuning: S3FifoCwTuning;
  readonly links: Int32Array;
  readonly states: Uint8Array;
  readonly chargeLows: Uint16Array;
  /** Tick of its policy's clock; means nothing for pages in main. */
  readonly stamps: Uint16Array | Uint32Array;
  /** Which bits of a difference of ticks mean something; a tick is `1 << tickShift` steps of that. */
  readonly tickMask: number;
  readonly tickShift: number;
  /** The policies' name: `s3fifo-cw`, or what it is called without its window. */
  readonly name: string;
  readonly ghosts = new GhostMemory();
  usedSlotCount = 0;

  constructor(options: PolicyOptions, tuning: Partial<S3FifoCwTuning> = {}, name = 's3fifo-cw') {
    const { slotCount, keyCount } = options;
    const isExact = keyCount !== undefined;
    this.name = name;
    this.options = options;
    const sweepLimit = sweepLimitOf(options);
    const hitsPerInsertion = isExact ? 0 : S3FIFO_CW_DEFAULTS.hitsPerInsertion;
    this.tuning = { ...S3FIFO_CW_DEFAULTS, sweepLimit, hitsPerInsertion, ...tuning };
    this.links = new Int32Array(2 * slotCount);
    this.states = new Uint8Array(slotCount);
    this.chargeLows = new Uint16Array(slotCount);
    this.stamps = isExact ? new Uint32Array(slotCount) : new Uint16Array(slotCount);
    this.tickMask = isExact ? -1 : TICK_MASK;
    this.tickShift = isExact ? 0 : tickShiftFor(slotCount);
  }

  get metadataBytes(): number {
    return this.usedSlotCount * BYTES_PER_SLOT + this.ghosts.bytes;
  }

  useSlots(count: number): void {
    this.usedSlotCount = Math.max(this.usedSlotCount, count);
  }

  /** `ghost` may be another memory of departures, for instance an exact one in a simulation. */
  create(ghost: Ghost = this.createGhost()): S3FifoCw {
    return new S3FifoCw(this, ghost);
  }

  private createGhost(): Ghost {
    const { slotCount, keyCount } = this.options;
    if (keyCount !== undefined) return new ExactGhost(keyCount, this.ghosts);
    return new GhostTable(slotCount, this.ghosts);
  }
}

/** Byte-weighted S3-FIFO with a correlated-reference window. */
export class S3FifoCw implements EvictionPolicy {
  readonly name: string;
  ghostHitCount = 0;
  private readonly family: S3FifoCwFamily;
  private readonly tuning: S3FifoCwTuning;
  private readonly hashOf: (slot: number) => number;
  private readonly ghost: Ghost;
  private readonly small: SlotQueue;
  private readonly main: SlotQueue;
  private readonly states: Uint8Array;
  private readonly chargeLows: Uint16Array;
  private readonly stamps: Uint16Array | Uint32Array;
  private readonly hitsPerInsertion: number;
  private readonly tickShift: number;
  private readonly tickMask: number;
  /** Insertions into small, and hits for a part of one each: the clock of the window. */
  private clock = 0;
  /** Hits since it last moved for those. */
  private hits = 0;
  private capacityBytes = 0;
  private smallCapacityBytes = 0;
  private windowTicks = 0;
  private isClock = false;
  private sweptPages = 0;
  /** Pages per byte that the numbers above were made for, and from how many pages they hold. */
  private sizedFor = -1;
  private sizedFrom = 0;

  constructor(family: S3FifoCwFamily, ghost: Ghost) {
    const { options } = family;
    this.family = family;
    this.name = family.name;
    this.tuning = family.tuning;
    this.hashOf = options.hashOf;
    this.ghost = ghost;
    this.small = new SlotQueue(family.links);
    this.main = new SlotQueue(family.links);
    this.states = family.states;
    this.chargeLows = family.chargeLows;
    this.stamps = family.stamps;
    this.hitsPerInsertion = family.tuning.hitsPerInsertion;
    this.tickShift = family.tickShift;
    this.tickMask = family.tickMask;
    this.setCapacity(options.capacityBytes);
  }

  get count(): number {
    return this.small.count + this.main.count;
  }

  get chargedBytes(): number {
    return this.small.chargedBytes + this.main.chargedBytes;
  }

  /** Pages that `evict` has looked at since the start, victims included. */
  get sweptCount(): number {
    return this.sweptPages;
  }

  setCapacity(bytes: number): void {
    if (bytes === this.capacityBytes) return;
    this.capacityBytes = bytes;
    this.sizedFor = -1;
    this.smallCapacityBytes = Math.floor(bytes * this.tuning.smallShare);
  }

  insert(slot: number, charge: number, keyHash: number): void {
    assertCharge(charge);
    if (this.states[slot] !== 0) throwSlotState('insert', slot);
    if (slot >= this.family.usedSlotCount) this.family.usedSlotCount = slot + 1;
    this.sizeByPages((this.count + 1) / (this.chargedBytes + charge));
    this.chargeLows[slot] = charge;
    const chargeHigh = (charge >>> 12) & CHARGE_HIGH;
    const isKnown = this.ghost.take(keyHash);
    if (isKnown) this.ghostHitCount++;
    if (isKnown || this.isClock) {
      this.states[slot] = chargeHigh | IN_MAIN;
      this.main.push(slot, charge);
      return;
    }
    this.clock = (this.clock + 1) | 0;
    this.stamps[slot] = this.clock >>> this.tickShift;
    this.states[slot] = chargeHigh | IN_SMALL;
    this.small.push(slot, charge);
  }

  touch(slot: number): void {
    const state = this.stateOf(slot, 'touch');
    this.hits = (this.hits + 1) | 0;
    if (this.hits === this.hitsPerInsertion) {
      this.hits = 0;
      this.clock = (this.clock + 1) | 0;
    }
    if ((state & HITS) === HITS) return;
    if ((state & IN_SMALL) !== 0) {
      const now = this.clock >>> this.tickShift;
      if (((now - this.stamps[slot]!) & this.tickMask) < this.windowTicks) return;
    }
    this.states[slot] = state + 1;
  }

  remove(slot: number): void {
    this.unlink(slot, this.stateOf(slot, 'remove'));
    this.states[slot] = 0;
  }

  evict(): number {
    const mainCapacityBytes = this.capacityBytes - this.smallCapacityBytes;
    if (this.small.count > 0 && this.main.chargedBytes <= mainCapacityBytes) {
      const victim = this.evictFromSmall();
      if (victim !== -1) return victim;
    }
    return this.evictFromMain();
  }

  release(): void {
    this.ghost.release();
  }

  /** The first unused page from the tail, promoting used ones; -1 if all it saw were used. */
  private evictFromSmall(): number {
    for (let step = 0; step < this.tuning.sweepLimit; step++) {
      const slot = this.small.tail;
      if (slot === -1) return -1;
      this.sweptPages++;
      const state = this.states[slot]!;
      if ((state & HITS) < this.tuning.promoteAtHits) {
        this.remove(slot);
        this.ghost.add(this.hashOf(slot));
        return slot;
      }
      const charge = this.chargeOf(slot, state);
      this.small.remove(slot, charge);
      this.main.push(slot, charge);
      this.states[slot] = (state & CHARGE_HIGH) | IN_MAIN;
    }
    return -1;
  }

  /**
   * The first page from the tail without a counted hit; the others pay one and go to the head.
   * After a long stretch of hits nearly every page has some: then the coldest seen must do.
   */
  private evictFromMain(): number {
    let coldest = -1;
    let coldestHits = HITS + 1;
    for (let step = 0; step < this.tuning.sweepLimit; step++) {
      const slot = this.main.tail;
      if (slot === -1) return -1;
      this.sweptPages++;
      const state = this.states[slot]!;
      const hits = state & HITS;
      if (hits < coldestHits) {
        coldest = slot;
        coldestHits = hits;
      }
      if (hits === 0) break;
      const charge = this.chargeOf(slot, state);
      this.main.remove(slot, charge);
      this.main.push(slot, charge);
      this.states[slot] = state - 1;
    }
    this.remove(coldest);
    return coldest;
  }

  /** Turns shares of bytes into numbers of pages by the density of the pages held now. */
  private sizeByPages(pagesPerByte: number): void {
    const { tuning } = this;
    // Pages that charge alike change nothing here once there are enough of them.
    if (pagesPerByte === this.sizedFor && this.count >= this.sizedFrom) return;
    this.sizedFor = pagesPerByte;
    const pages = this.capacityBytes * pagesPerByte;
    this.isClock = pages < tuning.clockBelowPages;
    const ghosts = pages * tuning.ghostShare;
    const perPageMax = this.family.options.keyCount === undefined ? GHOSTS_PER_PAGE_MAX : Infinity;
    this.ghost.setEntries(Math.floor(Math.min(ghosts, (this.count + 1) * perPageMax)));
    this.sizedFrom = ghosts / perPageMax;
    const smallPages = Math.floor(this.smallCapacityBytes * pagesPerByte);
    const leastWindow = Math.min(tuning.windowMinInsertions, smallPages >>> 1);
    const window = Math.max(Math.floor(smallPages * tuning.windowShare), leastWindow);
    this.windowTicks = Math.ceil(window / (1 << this.tickShift));
  }

  private unlink(slot: number, state: number): void {
    const queue = (state & IN_SMALL) !== 0 ? this.small : this.main;
    queue.remove(slot, this.chargeOf(slot, state));
  }

  private chargeOf(slot: number, state: number): number {
    return ((state & CHARGE_HIGH) << 12) | this.chargeLows[slot]!;
  }

  private stateOf(slot: number, event: string): number {
    const state = this.states[slot];
    if (state === undefined || (state & IN_QUEUE) === 0) throwSlotState(event, slot);
    return state;
  }
}
