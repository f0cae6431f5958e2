/**
 * W-TinyLFU: a small LRU window in front of a segmented LRU that a page enters only if it is used
 * more often than the page that would leave for it. Einziger, Friedman and Manes, "TinyLFU: a
 * highly efficient cache admission policy" (TOS 2017), with the rules of Caffeine: a window of
 * 1 % of the capacity to begin with, 80 % of the rest protected, and a hill climber that moves
 * the boundary of the window to where hits are (Einziger, Eytan, Friedman and Manes, "Adaptive
 * software cache management", Middleware'18).
 */
import { FrequencySketch } from './parts/frequency-sketch.ts';
import { QueuePolicy } from './parts/queue-policy.ts';
import { QueueFamily } from './parts/slot-queues.ts';
import type { PolicyFamily, PolicyOptions } from './policy.ts';

/** The numbers of the policy, as Caffeine has them. */
export interface WTinyLfuTuning {
  /** Share of the capacity that the window has first. */
  readonly windowShare: number;
  /** Share of the rest that is for pages used again there. */
  readonly protectedShare: number;
  /** Whether the window's share follows the hits. */
  readonly isAdaptive: boolean;
}

const W_TINYLFU_DEFAULTS: WTinyLfuTuning = {
  windowShare: 0.01,
  protectedShare: 0.8,
  isAdaptive: true,
};

const WINDOW = 0;
const PROBATION = 1;
const PROTECTED = 2;

// The hill climber: after this many uses for each page the window moves by a step, onwards while
// the hit ratio rises and back when it falls; steps shrink until the ratio jumps.
const SAMPLE_USES_PER_PAGE = 10;
const STEP_SHARE = 0.0625;
const STEP_DECAY = 0.98;
const RESTART_RATIO_CHANGE = 0.05;
/** A candidate used less often than this is not let in by chance (against chosen collisions). */
const CHANCE_USES_MIN = 6;
const CHANCE_MASK = 127;

/** A family of W-TinyLFUs. */
export function wTinyLfuFamily(
  options: PolicyOptions,
  tuning: Partial<WTinyLfuTuning> = {},
): PolicyFamily {
  const whole = { ...W_TINYLFU_DEFAULTS, ...tuning };
  return new QueueFamily(options, (family) => new WTinyLfu(family, whole));
}

/** Sizes in bytes; twelve bytes a page, and eight to sixteen for the sketch. */
class WTinyLfu extends QueuePolicy {
  readonly name = 'w-tinylfu';
  private readonly sketch: FrequencySketch;
  private readonly hashOf: (slot: number) => number;
  private readonly tuning: WTinyLfuTuning;
  private capacityBytes = 0;
  /** Shares of the capacity; what they leave is for pages on probation, and does not change. */
  private windowShare: number;
  private protectedShare: number;
  private hits = 0;
  private misses = 0;
  private previousHitRatio = 0;
  private stepShare = -STEP_SHARE;
  /** State of xorshift32: the same requests give the same choices. */
  private random = 0x2545_f491;

  constructor(family: QueueFamily, tuning: WTinyLfuTuning) {
    super(family, 3);
    const { options } = family;
    this.sketch = new FrequencySketch(
      family.ghosts,
      options.keyCount === undefined ? undefined : options.slotCount,
    );
    this.hashOf = options.hashOf;
    this.tuning = tuning;
    this.windowShare = tuning.windowShare;
    this.protectedShare = (1 - tuning.windowShare) * tuning.protectedShare;
    this.setCapacity(options.capacityBytes);
  }

  override setCapacity(bytes: number): void {
    this.capacityBytes = bytes;
  }

  insert(slot: number, charge: number, keyHash: number): void {
    this.pages.enter(slot, WINDOW, charge);
    this.misses++;
    this.sketch.ensure(this.pages.count);
    this.sketch.add(keyHash);
    this.passOn(charge);
    if (this.tuning.isAdaptive) this.climb();
  }

  touch(slot: number): void {
    const queue = this.pages.queueOf(slot, 'touch');
    this.hits++;
    this.sketch.add(this.hashOf(slot));
    this.pages.move(slot, queue === WINDOW ? WINDOW : PROTECTED);
    if (queue === PROBATION) this.demote();
  }

  /**
   * The page that leaves the window for the one to come, or the one it would push out: whichever
   * is used less often.
   */
  evict(): number {
    const { queues } = this.pages;
    const candidate = queues[WINDOW]!.tail;
    const main = queues[PROBATION]!.tail === -1 ? queues[PROTECTED]! : queues[PROBATION]!;
    const victim = main.tail;
    if (candidate === -1 && victim === -1) return -1;
    let loser = victim;
    if (victim === -1) {
      loser = candidate;
    } else if (candidate !== -1 && this.isWindowFull(this.pages.chargeOf(candidate))) {
      if (this.admits(candidate, victim)) this.pages.move(candidate, PROBATION);
      else loser = candidate;
    }
    this.pages.leave(loser);
    return loser;
  }

  override release(): void {
    this.sketch.release();
  }

  private get windowBytes(): number {
    return this.capacityBytes * this.windowShare;
  }

  /** Whether one more page of that charge would be too much for the window, which holds one. */
  private isWindowFull(charge: number): boolean {
    const { chargedBytes } = this.pages.queues[WINDOW]!;
    return chargedBytes + charge > Math.max(this.windowBytes, charge);
  }

  /** While there is room in the cache what leaves the window enters the main part unasked. */
  private passOn(charge: number): void {
    const window = this.pages.queues[WINDOW]!;
    const most = Math.max(this.windowBytes, charge);
    while (window.count > 1 && window.chargedBytes > most) this.pages.move(window.tail, PROBATION);
  }

  private admits(candidate: number, victim: number): boolean {
    const candidateUses = this.sketch.estimate(this.hashOf(candidate));
    const victimUses = this.sketch.estimate(this.hashOf(victim));
    if (candidateUses > victimUses) return true;
    if (candidateUses < CHANCE_USES_MIN) return false;
    let random = this.random;
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    this.random = random;
    return (random & CHANCE_MASK) === 0;
  }

  /** The least recent protected pages are on probation again until the others have room. */
  private demote(): void {
    const held = this.pages.queues[PROTECTED]!;
    const most = this.capacityBytes * this.protectedShare;
    while (held.count > 1 && held.chargedBytes > most) this.pages.move(held.tail, PROBATION);
  }

  private climb(): void {
    const uses = this.hits + this.misses;
    if (uses < SAMPLE_USES_PER_PAGE * this.pages.count) return;
    const hitRatio = this.hits / uses;
    const change = hitRatio - this.previousHitRatio;
    const step = change >= 0 ? this.stepShare : -this.stepShare;
    const isJump = Math.abs(change) >= RESTART_RATIO_CHANGE;
    this.stepShare = isJump ? Math.sign(step) * STEP_SHARE : step * STEP_DECAY;
    this.previousHitRatio = hitRatio;
    this.hits = 0;
    this.misses = 0;
    // What is protected now may stay until it is demoted by a hit, and the window passes its
    // surplus on with the next pages: no page moves because the boundary did.
    const moved = Math.max(-this.windowShare, Math.min(this.protectedShare, step));
    this.windowShare += moved;
    this.protectedShare -= moved;
  }
}
