/**
 * LIRS: the pages with the shortest time between their last two uses stay, however long the last
 * one is ago. Jiang and Zhang, "LIRS: an efficient low inter-reference recency set replacement
 * policy" (SIGMETRICS'02), section 3. The policy for loops a little larger than the cache.
 *
 * The paper's stack S holds every page used since the oldest use of an LIR page. Here it is not
 * built: a page is in S if it was used later than the LIR page whose use is oldest. So the LIR
 * pages are an LRU, the HIR pages that are resident a FIFO (Q), and those that left are ghosts in
 * the order of their last use, which is the order in which they left.
 */
import { GhostQueues } from './parts/ghost-queues.ts';
import { QueuePolicy } from './parts/queue-policy.ts';
import { QueueFamily } from './parts/slot-queues.ts';
import type { PolicyFamily, PolicyOptions } from './policy.ts';

/** The numbers of the policy. */
export interface LirsTuning {
  /** Share of the capacity for HIR pages, at least one page. The authors use 1 %. */
  readonly hirShare: number;
  /** Ghosts for each page that is held. The paper has no limit. */
  readonly ghostsPerPageMax: number;
}

/** As published, but for a limit on the ghosts where they cost a cache its memory. */
const LIRS_DEFAULTS: LirsTuning = { hirShare: 0.01, ghostsPerPageMax: 2 };

const LIR = 0;
const HIR = 1;

/** An LIR page that was last used so many uses of HIR pages ago is one no more: times wrap. */
const AGE_MAX = 2 ** 30;

/** A family of LIRSs. In a simulation the number of ghosts has no limit unless it is given. */
export function lirsFamily(options: PolicyOptions, tuning: Partial<LirsTuning> = {}): PolicyFamily {
  const unlimited = options.keyCount === undefined ? {} : { ghostsPerPageMax: Infinity };
  const whole = { ...LIRS_DEFAULTS, ...unlimited, ...tuning };
  const stamps = new Int32Array(options.slotCount);
  return new QueueFamily(options, (family) => new Lirs(family, whole, stamps), 4);
}

/** Least recent HIR page first. */
class Lirs extends QueuePolicy {
  readonly name = 'lirs';
  ghostHitCount = 0;
  private readonly ghosts: GhostQueues;
  private readonly hashOf: (slot: number) => number;
  private readonly tuning: LirsTuning;
  /**
   * When each slot was used last, in uses of HIR pages: among LIR pages the order of their queue
   * says it. Compared by difference, so it may wrap.
   */
  private readonly stamps: Int32Array;
  private now = 0;
  private capacityBytes = 0;

  constructor(family: QueueFamily, tuning: LirsTuning, stamps: Int32Array) {
    super(family, 2);
    const { options } = family;
    this.ghosts = new GhostQueues(
      { queueCount: 1, keyCount: options.keyCount, hasStamps: true },
      family.ghosts,
    );
    this.hashOf = options.hashOf;
    this.tuning = tuning;
    this.stamps = stamps;
    this.setCapacity(options.capacityBytes);
  }

  override setCapacity(bytes: number): void {
    this.capacityBytes = bytes;
  }

  insert(slot: number, charge: number, keyHash: number): void {
    this.pruneGhosts();
    const isInStack = this.ghosts.take(keyHash) !== -1;
    if (isInStack) this.ghostHitCount++;
    const lirBytes = this.lirBytesFor(charge);
    const isLir = isInStack || this.pages.queues[LIR]!.chargedBytes + charge <= lirBytes;
    this.pages.enter(slot, isLir ? LIR : HIR, charge);
    this.stamps[slot] = isLir ? this.now : this.tick();
    if (isLir) this.demote(lirBytes, slot);
    const most = this.pages.count * this.tuning.ghostsPerPageMax;
    while (this.ghosts.counts[0]! > most) this.ghosts.dropOldest(0);
  }

  touch(slot: number): void {
    const queue = this.pages.queueOf(slot, 'touch');
    const isLir = queue === LIR || this.isInStack(slot);
    this.pages.move(slot, isLir ? LIR : HIR);
    this.stamps[slot] = isLir ? this.now : this.tick();
    if (isLir && queue === HIR) this.demote(this.lirBytesFor(this.pages.chargeOf(slot)), slot);
  }

  evict(): number {
    const [lir, hir] = this.pages.queues;
    const slot = hir!.tail;
    if (slot === -1) {
      const last = lir!.tail;
      if (last !== -1) this.pages.leave(last);
      return last;
    }
    if (this.isInStack(slot)) this.ghosts.add(0, this.hashOf(slot), this.stamps[slot]!);
    this.pages.leave(slot);
    return slot;
  }

  override release(): void {
    this.ghosts.release();
  }

  /** Bytes that the LIR pages may have where a page charges so many. */
  private lirBytesFor(charge: number): number {
    const hirBytes = Math.floor(this.capacityBytes * this.tuning.hirShare);
    return this.capacityBytes - Math.max(charge, hirBytes);
  }

  /** The least recent LIR pages become HIR pages until the others have room. */
  private demote(lirBytes: number, newest: number): void {
    const lir = this.pages.queues[LIR]!;
    while (lir.chargedBytes > lirBytes && lir.tail !== newest) this.pages.move(lir.tail, HIR);
  }

  private isInStack(slot: number): boolean {
    const bottom = this.pages.queues[LIR]!.tail;
    return bottom !== -1 && ((this.stamps[slot]! - this.stamps[bottom]!) | 0) > 0;
  }

  private pruneGhosts(): void {
    const bottom = this.pages.queues[LIR]!.tail;
    if (bottom === -1) return;
    const oldest = this.stamps[bottom]!;
    while (this.ghosts.counts[0]! > 0 && ((this.ghosts.oldestStamp(0) - oldest) | 0) <= 0) {
      this.ghosts.dropOldest(0);
    }
  }

  /** The time of a use of an HIR page. */
  private tick(): number {
    this.now = (this.now + 1) | 0;
    const bottom = this.pages.queues[LIR]!.tail;
    const isTooOld = bottom !== -1 && ((this.now - this.stamps[bottom]!) | 0) > AGE_MAX;
    if (isTooOld) this.pages.move(bottom, HIR);
    return this.now;
  }
}
