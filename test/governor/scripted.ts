/** A clock that moves by hand, layers that are two numbers, and readings that a test writes. */

import type { LoopClock } from '../../src/governor/clock.ts';
import type { PressureReadings, Stalls } from '../../src/governor/pressure-readings.ts';
import type { Reclaimable } from '../../src/governor/reclaimable.ts';

export const MIB = 1024 ** 2;
export const GIB = 1024 ** 3;

interface Due {
  readonly atMs: number;
  readonly run: () => void;
}

export class ScriptedClock implements LoopClock {
  timeMs = 1000;
  turns: (() => void)[] = [];
  timers: Due[] = [];

  now(): number {
    return this.timeMs;
  }

  after(delayMs: number, run: () => void): () => void {
    const due = { atMs: this.timeMs + delayMs, run };
    this.timers.push(due);
    return () => {
      this.timers = this.timers.filter((each) => each !== due);
    };
  }

  nextTurn(run: () => void): () => void {
    this.turns.push(run);
    return () => {
      this.turns = this.turns.filter((each) => each !== run);
    };
  }

  /** One turn of the event loop: what it was to run, then the timers that are due. */
  turn(): void {
    const turns = this.turns;
    this.turns = [];
    for (const run of turns) run();
    const due = this.timers.filter(({ atMs }) => atMs <= this.timeMs);
    this.timers = this.timers.filter(({ atMs }) => atMs > this.timeMs);
    for (const { run } of due) run();
  }

  /** Turns until nothing is to be run but timers of later. */
  settle(): number {
    let count = 0;
    while (this.turns.length > 0 && count < 100_000) {
      this.turn();
      count++;
    }
    return count;
  }

  /** Lets time pass, from one timer to the next. */
  pass(ms: number): void {
    const end = this.timeMs + ms;
    this.settle();
    for (;;) {
      const next = Math.min(...this.timers.map(({ atMs }) => atMs));
      if (next > end) break;
      this.timeMs = Math.max(this.timeMs, next);
      this.turn();
      this.settle();
    }
    this.timeMs = Math.max(this.timeMs, end);
  }
}

export class ScriptedLayers implements Reclaimable {
  usedBytes = 0;
  persistentBytes = 0;
  limitBytes: number;
  /** What one step takes, milliseconds. */
  stepMs = 0.1;
  readonly steps: number[] = [];
  readonly limits: number[] = [];
  readonly requests: number[] = [];
  /** Pages above caps, and how many were taken at a time. */
  pagesAboveCaps = 0;
  readonly trims: number[] = [];
  /** Pages above caps when it heard that no more can be taken. */
  readonly fits: number[] = [];
  readonly #clock: ScriptedClock;

  constructor(clock: ScriptedClock, limitBytes: number) {
    this.#clock = clock;
    this.limitBytes = limitBytes;
  }

  setLimit(bytes: number): void {
    this.limitBytes = bytes;
    this.limits.push(bytes);
  }

  shrink(bytes: number): number {
    const freed = Math.max(0, Math.min(bytes, this.usedBytes - this.persistentBytes));
    this.usedBytes -= freed;
    this.steps.push(bytes);
    this.#clock.timeMs += this.stepMs;
    return freed;
  }

  trimToCaps(pagesMax: number): number {
    const count = Math.min(pagesMax, this.pagesAboveCaps);
    this.pagesAboveCaps -= count;
    if (count > 0) this.trims.push(count);
    return count;
  }

  requestWriteBack(bytes: number): void {
    this.requests.push(bytes);
  }

  requestFit(): void {
    this.fits.push(this.pagesAboveCaps);
  }
}

/** Stalls by their sums in milliseconds; the average of 10 s is a share. */
export function stalls(someMs: number, fullMs = 0, someShare10s = 0): Stalls {
  return { someShare10s, someTotalUs: someMs * 1000, fullTotalUs: fullMs * 1000 };
}

/** Readings that say nothing but what is given. */
export function readings(given: Partial<PressureReadings> = {}): PressureReadings {
  const nothing = { groupStalls: undefined, machineStalls: undefined, machineRoom: undefined };
  return { ...nothing, groupRooms: [], ...given };
}
