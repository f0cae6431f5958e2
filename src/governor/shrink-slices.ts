/**
 * Gives memory back without holding up the event loop: at most 2 ms in one turn of it, in small
 * steps, as many turns as it takes.
 */

import type { LoopClock } from './clock.ts';
import type { Reclaimable } from './reclaimable.ts';

/** Bytes of one step: the most, and the least it comes down to where steps take long. */
const STEP_BYTES_MAX = 256 * 1024;
const STEP_BYTES_MIN = 16 * 1024;
/** Time for shrinking in one turn of the event loop. */
const SLICE_MS = 2;
/** The same when the loop is late already, and the pause after it. */
const GENTLE_SLICE_MS = 0.5;
const GENTLE_PAUSE_MS = 10;
/** So many steps in a row that free nothing are the end. */
const VAIN_STEPS_MAX = 64;

/** How a run ended: all was given back, nothing more can be, or it was stopped. */
export type ShrinkEnd = 'done' | 'stuck' | 'stopped';

export class ShrinkSlices {
  /** Given back so far, bytes. */
  freedBytes = 0;
  /** Whether to do less, and less often. */
  isGentle = false;
  readonly #reclaimable: Reclaimable;
  readonly #clock: LoopClock;
  readonly #onEnd: (end: ShrinkEnd) => void;
  #goalBytes = Number.POSITIVE_INFINITY;
  #owedBytes = 0;
  #stepBytes = STEP_BYTES_MAX;
  #vainSteps = 0;
  #cancel: (() => void) | undefined;

  /** `onEnd` hears of the end of every run, and may start another. */
  constructor(reclaimable: Reclaimable, clock: LoopClock, onEnd: (end: ShrinkEnd) => void) {
    this.#reclaimable = reclaimable;
    this.#clock = clock;
    this.#onEnd = onEnd;
  }

  get isRunning(): boolean {
    return this.#cancel !== undefined;
  }

  /** What is still to be freed, bytes. */
  get excessBytes(): number {
    return Math.max(this.#reclaimable.usedBytes - this.#goalBytes, this.#owedBytes, 0);
  }

  /** Shrinks until no more than `goalBytes` are used; a run that is under way takes the new goal. */
  downTo(goalBytes: number): void {
    this.#goalBytes = goalBytes;
    this.#begin();
  }

  /** Shrinks by `bytes`, beside the goal and whatever is put meanwhile. */
  by(bytes: number): void {
    this.#owedBytes = Math.max(this.#owedBytes, bytes);
    this.#begin();
  }

  /** Ends the run that is under way, if one is. */
  stop(): void {
    if (this.isRunning) this.#end('stopped');
  }

  #begin(): void {
    if (this.isRunning || this.excessBytes === 0) return;
    this.#vainSteps = 0;
    // Not in this turn: another slice may have been in it.
    this.#cancel = this.#clock.nextTurn(this.#slice);
  }

  #end(end: ShrinkEnd): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#owedBytes = 0;
    this.#onEnd(end);
  }

  readonly #slice = (): void => {
    const end = this.#work(this.isGentle ? GENTLE_SLICE_MS : SLICE_MS);
    if (end !== undefined) {
      this.#end(end);
    } else if (this.isGentle) {
      this.#cancel = this.#clock.after(GENTLE_PAUSE_MS, this.#slice);
    } else {
      this.#cancel = this.#clock.nextTurn(this.#slice);
    }
  };

  /** Steps for so long; answers how the run ended, or undefined when there is more to do. */
  #work(budgetMs: number): ShrinkEnd | undefined {
    const startMs = this.#clock.now();
    let spentMs = 0;
    let stepMs = 0;
    // The next step will take about as long as the last one, and has to fit in too.
    while (spentMs + stepMs <= budgetMs) {
      const excess = this.excessBytes;
      if (excess === 0) return 'done';
      if (this.#vainSteps >= VAIN_STEPS_MAX) return 'stuck';
      this.#step(Math.min(excess, this.#stepBytes));
      const nowMs = this.#clock.now() - startMs;
      stepMs = nowMs - spentMs;
      spentMs = nowMs;
      this.#adapt(stepMs, budgetMs);
    }
    return undefined;
  }

  #step(bytes: number): void {
    const before = this.#reclaimable.usedBytes;
    const freed = this.#reclaimable.shrink(bytes);
    this.freedBytes += freed;
    this.#owedBytes = Math.max(0, this.#owedBytes - freed);
    // Only what is no longer used brings the goal nearer, whatever the answer was.
    this.#vainSteps = this.#reclaimable.usedBytes < before ? 0 : this.#vainSteps + 1;
  }

  /** Keeps a step well below the budget of a turn. */
  #adapt(stepMs: number, budgetMs: number): void {
    if (stepMs > budgetMs / 4) {
      this.#stepBytes = Math.max(STEP_BYTES_MIN, this.#stepBytes / 2);
    } else if (stepMs < budgetMs / 16) {
      this.#stepBytes = Math.min(STEP_BYTES_MAX, this.#stepBytes * 2);
    }
  }
}
