/**
 * How much memory the layers are to have: from the configured limit, what they hold, and the pressure
 * on the memory, to the next target. Down fast and by the size of what is wrong; up slowly, in equal
 * steps, after a time of calm that grows when going up proved wrong. It has no clock and reads
 * nothing.
 *
 * Source of the idea: additive increase and multiplicative decrease (Chiu and Jain, 1989), with the
 * kernel's stall information as the signal of congestion.
 */

import type { Pressure } from './pressure.ts';

/**
 * Why the target is where it is: nothing keeps it from the configured limit (`calm`), an
 * administrator has just set that limit (`manual`), or what holds it down.
 */
export type Reason = 'calm' | 'psi' | 'cgroup' | 'machine' | 'lag' | 'manual';

export interface LawInput {
  /** What the layers hold at this moment, bytes. */
  readonly usedBytes: number;
  readonly pressure: Pressure;
  /** How late the event loop runs what is due; 0 where it is unknown. */
  readonly lagMs: number;
  /** Since the input before. */
  readonly elapsedMs: number;
}

export interface Decision {
  readonly targetBytes: number;
  readonly reason: Reason;
  /** Something is wrong now, whether or not the target was lowered for it in this tick. */
  readonly isPressed: boolean;
}

const MIB = 1024 ** 2;
/** However hard the times, this stays, or a sixteenth of the configured limit if that is more. */
const FLOOR_BYTES = 32 * MIB;
const FLOOR_SHARE = 1 / 16;

/** From here on, stalls lower the target. */
const STALL_SHARE_MIN = 0.02;
/** The least and the most that one tick takes away for stalls; also the most for anything. */
const CUT_SHARE_MIN = 0.05;
const CUT_SHARE_MAX = 0.5;
/** After a cut, what was freed must show before the next; in bad times after less. */
const SETTLE_MS = 2000;
const SETTLE_MS_SEVERE = 500;

/** An event loop that is later than this is not calm. */
const LAG_MS_MAX = 50;

/** Calm that comes before growth; doubled for every growth that had to be taken back. */
const CALM_MS_MIN = 10_000;
const CALM_MS_MAX = 160_000;
const GROWTH_SHARE = 1 / 64;
const GROWTH_EVERY_MS = 1000;
/** Growth by less than this part of a step waits until there is room for more. */
const STEP_SHARE_MIN = 1 / 4;
/** A process that was suspended has not seen what happened meanwhile. */
const ELAPSED_MS_MAX = 2000;

export class ControlLaw {
  #configuredBytes: number;
  #floorBytes: number;
  #targetBytes: number;
  #settledMs = SETTLE_MS;
  #calmMs = 0;
  #sinceGrowthMs = GROWTH_EVERY_MS;
  #calmWaitMs = CALM_MS_MIN;
  #hasGrown = false;

  /** Starts at the configured limit. `floorBytes`: guaranteed, as far as that limit allows. */
  constructor(configuredBytes: number, floorBytes = 0) {
    this.#configuredBytes = configuredBytes;
    this.#floorBytes = floorBytes;
    this.#targetBytes = configuredBytes;
  }

  get targetBytes(): number {
    return this.#targetBytes;
  }

  get configuredBytes(): number {
    return this.#configuredBytes;
  }

  /** The target never goes below this; it is never above the configured limit. */
  get floorBytes(): number {
    const least = Math.max(FLOOR_BYTES, this.#configuredBytes * FLOOR_SHARE, this.#floorBytes);
    return Math.min(this.#configuredBytes, Math.ceil(least));
  }

  /**
   * Changes the configured limit. A lower one holds at once. A higher one does too if nothing had
   * lowered the target; otherwise it grows there as always.
   */
  setConfigured(bytes: number): void {
    const wasFree = this.#targetBytes === this.#configuredBytes;
    this.#configuredBytes = bytes;
    this.#targetBytes = wasFree ? bytes : Math.min(this.#targetBytes, bytes);
    this.#targetBytes = Math.max(this.#targetBytes, this.floorBytes);
  }

  /** Changes what is guaranteed, bytes, as far as the configured limit allows. */
  setFloor(bytes: number): void {
    this.#floorBytes = bytes;
    this.#targetBytes = Math.max(this.#targetBytes, this.floorBytes);
  }

  /** The next target. */
  next(input: LawInput): Decision {
    const elapsedMs = Math.min(Math.max(input.elapsedMs, 0) || 0, ELAPSED_MS_MAX);
    this.#settledMs += elapsedMs;
    this.#sinceGrowthMs += elapsedMs;
    const wanted = this.#wantedLess(input);
    if (wanted !== undefined) {
      this.#calmMs = 0;
      if (this.#mayCut(input)) this.#cutTo(wanted.targetBytes, input.usedBytes);
      return { targetBytes: this.#targetBytes, reason: wanted.reason, isPressed: true };
    }
    const isLate = input.lagMs >= LAG_MS_MAX;
    const isCalm = input.pressure.isQuiet && !isLate;
    this.#calmMs = isCalm ? this.#calmMs + elapsedMs : 0;
    if (this.#targetBytes === this.#configuredBytes) {
      if (Math.min(this.#calmMs, this.#sinceGrowthMs) >= CALM_MS_MAX) this.#trustGrowth();
      return { targetBytes: this.#targetBytes, reason: 'calm', isPressed: false };
    }
    let reason: Reason = 'calm';
    if (!isCalm) reason = isLate ? 'lag' : 'psi';
    else if (this.#calmMs >= this.#calmWaitMs) reason = this.#grow(input);
    return { targetBytes: this.#targetBytes, reason, isPressed: false };
  }

  /** The lowest of the targets that the pressure asks for, or undefined when it asks for none. */
  #wantedLess(input: LawInput): { targetBytes: number; reason: Reason } | undefined {
    const { pressure, usedBytes, lagMs } = input;
    const base = Math.min(this.#targetBytes, usedBytes);
    let lowest: { targetBytes: number; reason: Reason } | undefined;
    const want = (targetBytes: number, reason: Reason): void => {
      if (lowest === undefined || targetBytes < lowest.targetBytes) {
        lowest = { targetBytes, reason };
      }
    };
    const { stallShare, groupDeficitBytes, machineDeficitBytes } = pressure;
    if (stallShare >= STALL_SHARE_MIN) {
      want(base * (1 - Math.min(Math.max(stallShare, CUT_SHARE_MIN), CUT_SHARE_MAX)), 'psi');
    }
    if (groupDeficitBytes > 0) want(usedBytes - groupDeficitBytes, 'cgroup');
    if (machineDeficitBytes > 0) want(usedBytes - machineDeficitBytes, 'machine');
    // Without stall information, being late while memory is short is the best sign of paging.
    const isShort = Math.min(pressure.groupSpareBytes, pressure.machineSpareBytes) < 0;
    if (!pressure.hasStalls && isShort && lagMs >= LAG_MS_MAX) {
      want(base * (1 - CUT_SHARE_MIN), 'lag');
    }
    return lowest;
  }

  /** Whether the cut before has had its effect; a severe state does not wait for that. */
  #mayCut({ pressure, usedBytes }: LawInput): boolean {
    if (pressure.isSevere) return this.#settledMs >= SETTLE_MS_SEVERE;
    return this.#settledMs >= SETTLE_MS && usedBytes <= this.#targetBytes;
  }

  #cutTo(wantedBytes: number, usedBytes: number): void {
    const base = Math.min(this.#targetBytes, usedBytes);
    const least = Math.max(base * (1 - CUT_SHARE_MAX), this.floorBytes);
    const next = Math.max(Math.floor(wantedBytes), Math.ceil(least));
    if (next >= this.#targetBytes) return;
    this.#settledMs = 0;
    if (this.#hasGrown) this.#calmWaitMs = Math.min(this.#calmWaitMs * 2, CALM_MS_MAX);
    this.#hasGrown = false;
    this.#targetBytes = next;
  }

  /** Growth that has held for so long was right: what comes now is another matter. */
  #trustGrowth(): void {
    this.#calmWaitMs = CALM_MS_MIN;
    this.#hasGrown = false;
  }

  /** One step up, as far as there is room for it; answers what is in the way of more, if anything. */
  #grow({ pressure, usedBytes }: LawInput): Reason {
    if (this.#sinceGrowthMs < GROWTH_EVERY_MS) return 'calm';
    const { groupSpareBytes, machineSpareBytes } = pressure;
    // What the layers may take already, and have not yet, is as good as taken.
    const promised = Math.max(0, this.#targetBytes - usedBytes);
    const spare = Math.floor(Math.min(groupSpareBytes, machineSpareBytes) - promised);
    const full = Math.ceil(this.#configuredBytes * GROWTH_SHARE);
    const missing = this.#configuredBytes - this.#targetBytes;
    const step = Math.min(full, missing);
    if (spare < step && spare < full * STEP_SHARE_MIN) {
      return groupSpareBytes <= machineSpareBytes ? 'cgroup' : 'machine';
    }
    this.#targetBytes += Math.min(step, spare);
    this.#sinceGrowthMs = 0;
    this.#hasGrown = true;
    return 'calm';
  }
}
