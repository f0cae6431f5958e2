/**
 * The governor: once a second it looks at the pressure on the memory and moves the limit of the
 * layers between a floor and what was configured; what is above the limit is given back in slices.
 * Nothing of it is process-wide: several stacks may each have one.
 */

import { TmemError } from '../lib/errors.ts';
import { formatSize } from '../lib/sizes.ts';
import { CapTrim } from './cap-trim.ts';
import { eventLoopClock, type LoopClock } from './clock.ts';
import { ControlLaw, type Reason } from './control-law.ts';
import { LoopLag } from './loop-lag.ts';
import { type Pressure, pressureOf } from './pressure.ts';
import { PressureReader, type PressureReadings } from './pressure-readings.ts';
import type { Reclaimable } from './reclaimable.ts';
import { type ShrinkEnd, ShrinkSlices } from './shrink-slices.ts';

/** Between two looks at the pressure; the shorter time while there is some. */
const TICK_MS = 1000;
const PRESSED_TICK_MS = 250;
/** A loop that is later than this is spared: smaller slices, with pauses. */
const GENTLE_LAG_MS = 20;

export interface GovernorOptions {
  readonly reclaimable: Reclaimable;
  /** The most the layers may ever have, bytes. */
  readonly configuredBytes: number;
  /** Guaranteed, bytes, as far as the configured limit allows; 0 if not given. */
  readonly floorBytes?: number;
  readonly log: { warn(message: string): void };
  /** The rest is for tests: what the kernel says, how late the loop is, and time. */
  readonly read?: () => PressureReadings | undefined;
  readonly lag?: Pick<LoopLag, 'read' | 'stop'>;
  readonly clock?: LoopClock;
}

/** Where stall information comes from: the control group, the whole machine, or nowhere. */
export type StallSource = 'group' | 'machine' | 'none';

/** What metrics and status show of a governor; a copy. */
export interface GovernorState {
  readonly configuredBytes: number;
  readonly targetBytes: number;
  readonly floorBytes: number;
  /** Why the target is where it is. */
  readonly reason: Reason;
  readonly stallSource: StallSource;
  /** The last readings and what they meant; undefined before the first tick. */
  readonly readings: PressureReadings | undefined;
  readonly pressure: Pressure | undefined;
  readonly lagMs: number;
  readonly ticks: number;
  /** How often the target was lowered, by what for. */
  readonly cuts: Readonly<Record<Exclude<Reason, 'calm'>, number>>;
  /** Given back so far, bytes. */
  readonly shrunkBytes: number;
  readonly isShrinking: boolean;
  /** More is held than the target, and nothing of it can be given back until it is written. */
  readonly isStuck: boolean;
}

export class Governor {
  readonly #reclaimable: Reclaimable;
  readonly #log: GovernorOptions['log'];
  readonly #read: () => PressureReadings | undefined;
  readonly #lag: Pick<LoopLag, 'read' | 'stop'>;
  readonly #clock: LoopClock;
  readonly #law: ControlLaw;
  readonly #slices: ShrinkSlices;
  readonly #capTrim: CapTrim;
  readonly #cuts = { psi: 0, cgroup: 0, machine: 0, lag: 0, manual: 0 };
  #reclaims: { readonly freedBefore: number; readonly resolve: (bytes: number) => void }[] = [];
  #cancelTick: (() => void) | undefined;
  #lastTickMs: number | undefined;
  #readings: PressureReadings | undefined;
  #pressure: Pressure | undefined;
  #lagMs = 0;
  #reason: Reason = 'calm';
  #ticks = 0;
  #isStuck = false;
  #hasSaidMissing = false;

  /** Does nothing until `start`. Throws `usage` for limits that are no amounts. */
  constructor(options: GovernorOptions) {
    this.#reclaimable = options.reclaimable;
    this.#log = options.log;
    const reader = new PressureReader();
    this.#read = options.read ?? (() => reader.read());
    this.#lag = options.lag ?? new LoopLag();
    this.#clock = options.clock ?? eventLoopClock;
    const floorBytes = checked(options.floorBytes ?? 0);
    this.#law = new ControlLaw(checked(options.configuredBytes), floorBytes);
    this.#slices = new ShrinkSlices(this.#reclaimable, this.#clock, (end) => this.#ended(end));
    this.#capTrim = new CapTrim(this.#reclaimable, this.#clock);
  }

  /** Looks for the first time, and from now on at every tick, until `stop`. */
  start(): void {
    if (this.#cancelTick !== undefined) return;
    this.#lastTickMs = undefined;
    this.#tick();
  }

  /** Ends ticks and shrinking at once. The limit stays where it is. */
  stop(): void {
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    this.#slices.stop();
    this.#capTrim.stop();
    this.#lag.stop();
  }

  /**
   * Changes the most that the layers may have, bytes; a lower limit holds at once. Throws `usage` for
   * what is no amount.
   */
  setConfiguredLimit(bytes: number): void {
    const before = this.#law.targetBytes;
    this.#law.setConfigured(checked(bytes));
    this.#reason = 'manual';
    if (this.#law.targetBytes < before) this.#cuts.manual++;
    this.#enforce();
  }

  /** A cap was lowered: what is above it goes soon. Every tick looks, too. */
  fitCaps(): void {
    this.#capTrim.begin();
  }

  /** Changes what is guaranteed, bytes: the sum of all guaranteed minimums. Throws as above. */
  setFloor(bytes: number): void {
    this.#law.setFloor(checked(bytes));
    this.#enforce();
  }

  /**
   * Gives `bytes` back in slices, whatever the limit, which stays. Resolves with what was given back
   * until that was done or nothing more could be. Throws as above.
   */
  async reclaim(bytes: number): Promise<number> {
    const freedBefore = this.#slices.freedBytes;
    this.#slices.by(checked(bytes));
    if (!this.#slices.isRunning) return 0;
    return new Promise((resolve) => this.#reclaims.push({ freedBefore, resolve }));
  }

  get state(): GovernorState {
    return {
      configuredBytes: this.#law.configuredBytes,
      targetBytes: this.#law.targetBytes,
      floorBytes: this.#law.floorBytes,
      reason: this.#reason,
      stallSource: stallSourceOf(this.#readings),
      readings: this.#readings,
      pressure: this.#pressure,
      lagMs: this.#lagMs,
      ticks: this.#ticks,
      cuts: { ...this.#cuts },
      shrunkBytes: this.#slices.freedBytes,
      isShrinking: this.#slices.isRunning,
      isStuck: this.#isStuck,
    };
  }

  readonly #tick = (): void => {
    this.#ticks++;
    const readings = this.#read();
    if (readings === undefined) {
      // Who cannot look leaves the limit where it is, and goes on coming down to it.
      this.#enforce();
      this.#cancelTick = this.#clock.after(TICK_MS, this.#tick);
    } else {
      this.#follow(readings);
    }
    this.fitCaps();
  };

  #follow(readings: PressureReadings): void {
    const nowMs = this.#clock.now();
    const elapsedMs = nowMs - (this.#lastTickMs ?? nowMs);
    this.#lastTickMs = nowMs;
    this.#pressure = pressureOf(readings, this.#readings, elapsedMs);
    this.#readings = readings;
    this.#sayMissing(this.#pressure);
    this.#lagMs = this.#lag.read();
    this.#slices.isGentle = this.#lagMs >= GENTLE_LAG_MS;
    this.#decide(this.#pressure, elapsedMs);
  }

  #decide(pressure: Pressure, elapsedMs: number): void {
    const before = this.#law.targetBytes;
    const { targetBytes, reason, isPressed } = this.#law.next({
      usedBytes: this.#reclaimable.usedBytes,
      pressure,
      lagMs: this.#lagMs,
      elapsedMs,
    });
    this.#reason = reason;
    if (targetBytes < before && reason !== 'calm') this.#cuts[reason]++;
    this.#sayChange(before, targetBytes, reason);
    this.#enforce();
    const isBusy = isPressed || this.#slices.isRunning;
    this.#cancelTick = this.#clock.after(isBusy ? PRESSED_TICK_MS : TICK_MS, this.#tick);
  }

  /** Makes the target the limit, and gives back what is above it. */
  #enforce(): void {
    const { targetBytes } = this.#law;
    if (this.#reclaimable.limitBytes !== targetBytes) this.#reclaimable.setLimit(targetBytes);
    this.#slices.downTo(targetBytes);
    if (!this.#slices.isRunning) this.#isStuck = false;
  }

  #ended(end: ShrinkEnd): void {
    // None where a reclaim got less than it asked for: the limit holds, and dirty pages may stay.
    const { excessBytes } = this.#slices;
    this.#isStuck = end === 'stuck' && excessBytes > 0;
    // The next tick tries again; until then there is time to write.
    if (this.#isStuck) this.#reclaimable.requestWriteBack?.(excessBytes);
    const reclaims = this.#reclaims;
    this.#reclaims = [];
    for (const { freedBefore, resolve } of reclaims) {
      resolve(this.#slices.freedBytes - freedBefore);
    }
  }

  #sayMissing({ hasStalls }: Pressure): void {
    if (hasStalls || this.#hasSaidMissing) return;
    this.#hasSaidMissing = true;
    this.#log.warn(
      'this kernel gives no memory pressure information (PSI; psi=1 on its command line may help): ' +
        'the memory limit follows the control group, the available memory and the event loop alone',
    );
  }

  /** Says when the limit leaves the configured one and when it is back, not every step between. */
  #sayChange(before: number, now: number, reason: Reason): void {
    const configured = this.#law.configuredBytes;
    if (before === configured && now < before) {
      this.#log.warn(
        `memory is short (${reason}): the limit goes from ${formatSize(before)} to ${formatSize(now)}`,
      );
    } else if (before < configured && now === configured) {
      this.#log.warn(`memory is free again: the limit is back at ${formatSize(configured)}`);
    }
  }
}

/** An amount of bytes that someone gave; throws `usage` when it is none. */
function checked(bytes: number): number {
  if (Number.isSafeInteger(bytes) && bytes >= 0) return bytes;
  throw new TmemError('usage', `${bytes} bytes are no amount of memory; give a whole number`);
}

function stallSourceOf(readings: PressureReadings | undefined): StallSource {
  if (readings?.groupStalls !== undefined) return 'group';
  return readings?.machineStalls === undefined ? 'none' : 'machine';
}
