/**
 * 2Q: new pages pass through a short FIFO; only those asked for again after they left it come
 * into an LRU. Johnson and Shasha, "2Q: a low overhead high performance buffer management
 * replacement algorithm" (VLDB'94), the full version, with the shares the paper recommends.
 */
import { GhostQueues } from './parts/ghost-queues.ts';
import { QueuePolicy } from './parts/queue-policy.ts';
import { QueueFamily } from './parts/slot-queues.ts';
import type { PolicyFamily, PolicyOptions } from './policy.ts';

/** Shares of the capacity: of the FIFO, in bytes, and of the ghosts, in pages. */
export interface TwoQTuning {
  readonly inShare: number;
  readonly outShare: number;
}

/** Kin = 25 % and Kout = 50 % of the buffer (section 4.2). */
const TWO_Q_DEFAULTS: TwoQTuning = { inShare: 0.25, outShare: 0.5 };

const IN = 0;
const MAIN = 1;

/** A family of 2Qs. */
export function twoQFamily(options: PolicyOptions, tuning: Partial<TwoQTuning> = {}): PolicyFamily {
  const whole = { ...TWO_Q_DEFAULTS, ...tuning };
  return new QueueFamily(options, (family) => new TwoQ(family, whole));
}

/** A1in, A1out and Am of the paper. */
class TwoQ extends QueuePolicy {
  readonly name = '2q';
  ghostHitCount = 0;
  private readonly ghosts: GhostQueues;
  private readonly hashOf: (slot: number) => number;
  private readonly tuning: TwoQTuning;
  private capacityBytes = 0;
  private inBytes = 0;

  constructor(family: QueueFamily, tuning: TwoQTuning) {
    super(family, 2);
    const { options } = family;
    this.ghosts = new GhostQueues({ queueCount: 1, keyCount: options.keyCount }, family.ghosts);
    this.hashOf = options.hashOf;
    this.tuning = tuning;
    this.setCapacity(options.capacityBytes);
  }

  override setCapacity(bytes: number): void {
    this.capacityBytes = bytes;
    this.inBytes = Math.floor(bytes * this.tuning.inShare);
  }

  insert(slot: number, charge: number, keyHash: number): void {
    const isKnown = this.ghosts.take(keyHash) !== -1;
    this.pages.enter(slot, isKnown ? MAIN : IN, charge);
    if (isKnown) this.ghostHitCount++;
    this.trimGhosts();
  }

  /** In the FIFO a hit means nothing: it is likely the same use as the first one (section 3). */
  touch(slot: number): void {
    if (this.pages.queueOf(slot, 'touch') === MAIN) this.pages.move(slot, MAIN);
  }

  evict(): number {
    const [first, main] = this.pages.queues;
    if (first!.count > 0 && (first!.chargedBytes > this.inBytes || main!.count === 0)) {
      const slot = first!.tail;
      this.ghosts.add(0, this.hashOf(slot));
      this.pages.leave(slot);
      return slot;
    }
    const slot = main!.tail;
    if (slot !== -1) this.pages.leave(slot);
    return slot;
  }

  override release(): void {
    this.ghosts.release();
  }

  private trimGhosts(): void {
    const most = Math.floor(this.pages.pagesIn(this.capacityBytes) * this.tuning.outShare);
    while (this.ghosts.counts[0]! > most) this.ghosts.dropOldest(0);
  }
}
