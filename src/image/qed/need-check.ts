/**
 * The mark that an image must be checked before it is written again. An image without a backing file
 * does not order its data before its tables; it carries this mark instead, from before the first
 * allocation until everything has been quiet for a while.
 */

import type { AllocationGate } from '../appended/disk.ts';

/** Time since the last allocation after which the mark is taken away, milliseconds. */
export const QUIET_MS = 5000;

/** Calls `then` once, `ms` from now, unless it is cancelled by calling the result. */
export type After = (ms: number, then: () => void) => () => void;

/** Timers of this machine that keep no process alive. */
export const systemAfter: After = (ms, then) => {
  const timer = setTimeout(then, ms);
  timer.unref();
  return () => clearTimeout(timer);
};

export interface NeedCheckParts {
  /** Writes the mark, or writes it away, and makes that durable. */
  mark(isSet: boolean): Promise<void>;
  /** Makes all that was allocated durable. */
  flush(): Promise<void>;
  readonly after: After;
}

/** Allocations enter and leave; the mark is durable while one is inside. */
export class NeedCheck implements AllocationGate {
  readonly #parts: NeedCheckParts;
  #insideCount = 0;
  /** What the storage says; unknown while it is changed, and when that has failed. */
  #mark: 'set' | 'clear' | 'unknown' = 'clear';
  /** Under way. One that takes the mark away is waited for, and does not fail who waits. */
  #change: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  #isClosed = false;

  constructor(parts: NeedCheckParts) {
    this.#parts = parts;
  }

  async enter(): Promise<void> {
    this.#insideCount++;
    this.#stopTimer();
    try {
      // A mark that is being taken away is waited for, then set again.
      while (this.#change !== undefined || this.#mark !== 'set') {
        await (this.#change ?? this.#begin(true));
      }
    } catch (cause) {
      this.leave();
      throw cause;
    }
  }

  leave(): void {
    this.#insideCount--;
    if (this.#insideCount === 0) this.#startTimer();
  }

  /** Takes the mark away. No timer runs from then on, and nobody may enter any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopTimer();
    await this.#change?.catch(() => undefined);
    if (this.#mark !== 'clear') await this.#begin(false);
  }

  #startTimer(): void {
    if (this.#isClosed || this.#mark === 'clear') return;
    this.#cancelTimer = this.#parts.after(QUIET_MS, () => this.#onQuiet());
  }

  #stopTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #onQuiet(): void {
    this.#cancelTimer = undefined;
    if (this.#insideCount > 0 || this.#change !== undefined || this.#isClosed) return;
    // After a failure the mark may be there; the next quiet time or the closing tries again.
    this.#begin(false).catch(() => this.#insideCount === 0 && this.#startTimer());
  }

  #begin(isSet: boolean): Promise<void> {
    const change = this.#makeChange(isSet).finally(() => {
      this.#change = undefined;
    });
    this.#change = isSet ? change : change.catch(() => undefined);
    return change;
  }

  async #makeChange(isSet: boolean): Promise<void> {
    if (!isSet) await this.#parts.flush();
    this.#mark = 'unknown';
    await this.#parts.mark(isSet);
    this.#mark = isSet ? 'set' : 'clear';
  }
}
