/**
 * Takes pages from accounts that have more than their caps allow: a cap can be lowered, and a page
 * that was dirty then becomes clean later. Some pages in each turn of the event loop. At the end
 * those are asked to write whose pages cannot go before.
 */

import type { LoopClock } from './clock.ts';
import type { Reclaimable } from './reclaimable.ts';

const PAGES_PER_TURN = 64;

export class CapTrim {
  readonly #reclaimable: Reclaimable;
  readonly #clock: LoopClock;
  #cancel: (() => void) | undefined;

  constructor(reclaimable: Reclaimable, clock: LoopClock) {
    this.#reclaimable = reclaimable;
    this.#clock = clock;
  }

  /** Begins, and goes on until nobody has to give, or can. */
  begin(): void {
    this.#cancel ??= this.#clock.nextTurn(this.#turn);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  readonly #turn = (): void => {
    this.#cancel = undefined;
    if (this.#reclaimable.trimToCaps(PAGES_PER_TURN) > 0) this.begin();
    else this.#reclaimable.requestFit?.();
  };
}
