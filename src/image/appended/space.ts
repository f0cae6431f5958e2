/** Where an image that only grows puts what is new: at its end. */

import { roundUp } from '../../lib/round-up.ts';

/** A run of the file that was given out and that no table names yet. */
export interface SpaceRun {
  readonly offset: number;
  readonly length: number;
}

/** In the file, its end is the only record of what is free. */
export class AppendSpace {
  readonly #unitBytes: number;
  readonly #inFlight = new Set<SpaceRun>();
  /** Where runs begin that were given back while others lay behind them, by where they end. */
  readonly #returned = new Map<number, number>();
  #end: number;
  #limit = Number.POSITIVE_INFINITY;
  #refusal: (() => Error) | undefined;

  /** `end` is where the first new unit goes. */
  constructor(unitBytes: number, end: number) {
    this.#unitBytes = unitBytes;
    this.#end = end;
  }

  /** Where the next run begins; what is younger than this moment lies behind it. */
  get end(): number {
    return this.#end;
  }

  /** Nothing may be put at `offset` or behind it: whoever asks for that gets the error. */
  limit(offset: number, refusal: () => Error): void {
    this.#limit = offset;
    this.#refusal = refusal;
  }

  /** Throws, as asking for a unit would, when there is room for none. */
  checkRoom(): void {
    if (this.#returned.size === 0) this.#checkRoom(this.#unitBytes);
  }

  #checkRoom(length: number): void {
    if (this.#refusal !== undefined && this.#end + length > this.#limit) throw this.#refusal();
  }

  /** What no table names, though it is before the end: given out and not yet `settle`d, or given back. */
  get unnamed(): SpaceRun[] {
    const returned = [...this.#returned].map(([end, offset]) => ({ offset, length: end - offset }));
    return [...this.#inFlight, ...returned];
  }

  /** Room for `length` bytes, at a multiple of the unit; something may have been written there. */
  take(length: number): SpaceRun {
    for (const [end, offset] of this.#returned) {
      const left = end - offset - length;
      if (left < 0 || offset % this.#unitBytes !== 0) continue;
      if (left === 0) this.#returned.delete(end);
      else this.#returned.set(end, offset + length);
      return this.#give({ offset, length });
    }
    this.#end = roundUp(this.#end, this.#unitBytes);
    return this.takeBytes(length);
  }

  /** Room for `length` bytes, right behind what came before. */
  takeBytes(length: number): SpaceRun {
    this.#checkRoom(length);
    const run = this.#give({ offset: this.#end, length });
    this.#end += length;
    return run;
  }

  #give(run: SpaceRun): SpaceRun {
    this.#inFlight.add(run);
    return run;
  }

  /** A table names the run from now on. */
  settle(run: SpaceRun): void {
    this.#inFlight.delete(run);
  }

  /** Nothing names the run. With its neighbours it is taken again, or stays in the file as a leak. */
  giveBack(run: SpaceRun): void {
    this.#inFlight.delete(run);
    let start = run.offset;
    let end = start + run.length;
    for (const [otherEnd, otherStart] of this.#returned) {
      if (otherEnd !== start && otherStart !== end) continue;
      this.#returned.delete(otherEnd);
      start = Math.min(start, otherStart);
      end = Math.max(end, otherEnd);
    }
    if (end === this.#end) this.#end = start;
    else this.#returned.set(end, start);
  }
}
