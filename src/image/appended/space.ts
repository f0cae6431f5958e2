/** Where an image that only grows puts what is new: at its end. */

import { roundUp } from '../../lib/round-up.ts';
import type { ResizableStorage } from '../../storage/storage.ts';

const ZEROES_BYTES = 64 * 1024;
const zeroes = Buffer.alloc(ZEROES_BYTES);

/** A run of the file that was given out and that no table names yet. */
export interface SpaceRun {
  readonly offset: number;
  readonly length: number;
}

/** The end of the file is the only record of what is free. */
export class AppendSpace {
  readonly #storage: ResizableStorage;
  readonly #unitBytes: number;
  readonly #inFlight = new Set<SpaceRun>();
  /** Where runs begin that were given back while others lay behind them, by where they end. */
  readonly #returned = new Map<number, number>();
  #end: number;

  /** `end` is where the first new unit goes. */
  constructor(storage: ResizableStorage, unitBytes: number, end: number) {
    this.#storage = storage;
    this.#unitBytes = unitBytes;
    this.#end = end;
  }

  /** Where the next run begins; what is younger than this moment lies behind it. */
  get end(): number {
    return this.#end;
  }

  /** What is given out and not yet `settle`d. */
  get inFlight(): Iterable<SpaceRun> {
    return this.#inFlight;
  }

  /** Room for `length` bytes, at a multiple of the unit. */
  take(length: number): SpaceRun {
    this.#end = roundUp(this.#end, this.#unitBytes);
    return this.takeBytes(length);
  }

  /** Room for `length` bytes, right behind what came before. */
  takeBytes(length: number): SpaceRun {
    const run = { offset: this.#end, length };
    this.#end += length;
    this.#inFlight.add(run);
    return run;
  }

  /** A table names the run from now on. */
  settle(run: SpaceRun): void {
    this.#inFlight.delete(run);
  }

  /** Nothing names the run. It stays in the file as a leak if those behind it are not given back. */
  giveBack(run: SpaceRun): void {
    this.#inFlight.delete(run);
    this.#returned.set(run.offset + run.length, run.offset);
    for (let start = this.#takeReturned(); start !== undefined; start = this.#takeReturned()) {
      this.#end = start;
    }
  }

  /** The start of the returned run that is the last of the file; undefined if none is. */
  #takeReturned(): number | undefined {
    const start = this.#returned.get(this.#end);
    this.#returned.delete(this.#end);
    return start;
  }

  /**
   * Makes the range read as zeros and lie inside the file. What was behind its end is a hole and
   * costs one small write, however long the range is.
   */
  async makeZero(offset: number, length: number): Promise<void> {
    const end = offset + length;
    const stored = Math.min(end, this.#storage.sizeBytes);
    for (let at = offset; at < stored; ) {
      const count = Math.min(ZEROES_BYTES, stored - at);
      await this.#storage.write(zeroes, 0, count, at);
      at += count;
    }
    if (this.#storage.sizeBytes >= end) return;
    const last = Math.min(length, 512);
    await this.#storage.write(zeroes, 0, last, end - last);
  }
}
