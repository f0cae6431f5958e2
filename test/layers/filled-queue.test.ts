import { describe, expect, it, vi } from 'vitest';
import { FilledQueue } from '../../src/layers/filled-queue.ts';
import { NO_SLOT } from '../../src/tmem/page-index.ts';
import { fc } from '../tools/seed.ts';

/** A queue and the pages that are in it, by slot, in order of arrival. */
class Model {
  readonly #tags = new Map<number, number>();
  readonly #countMax: number;
  readonly queue: FilledQueue;

  constructor(countMax: number) {
    this.#countMax = countMax;
    this.queue = new FilledQueue(countMax, {
      tagOf: (slot) => this.#tags.get(slot) ?? -1,
      setTag: (slot, tag) => this.#tags.set(slot, tag),
    });
  }

  get slots(): number[] {
    return [...this.#tags.keys()];
  }

  push(slot: number): void {
    if (this.#tags.has(slot)) this.leave(slot);
    const isFull = this.#tags.size === this.#countMax;
    const { metadataBytes, growthBytes } = this.queue;
    const victim = this.queue.push(slot);
    expect(this.queue.metadataBytes).toBeLessThanOrEqual(metadataBytes + growthBytes);
    if (growthBytes > 0) expect([metadataBytes, isFull]).toEqual([growthBytes, false]);
    expect(victim !== NO_SLOT).toBe(isFull);
    if (victim !== NO_SLOT) {
      expect(victim).not.toBe(slot);
      expect(this.#tags.has(victim)).toBe(true);
      this.leave(victim);
    }
    expect(this.queue.count).toBe(this.#tags.size);
  }

  /** Every page is in the queue once, whatever was swept. */
  drain(): void {
    const slots = new Set(this.slots);
    for (let slot = this.queue.takeOldest(); slot !== NO_SLOT; slot = this.queue.takeOldest()) {
      expect(slots.delete(slot)).toBe(true);
    }
    expect([slots.size, this.queue.takeOldest()]).toEqual([0, NO_SLOT]);
    this.queue.append(1);
    expect([this.queue.takeOldest(), this.queue.takeOldest()]).toEqual([1, NO_SLOT]);
  }

  leave(slot: number): void {
    if (this.#tags.delete(slot)) this.queue.left();
  }
}

describe('the queue of same-filled pages', () => {
  it('asks for a page only when it is full, and for one that is there', () => {
    const step = fc.tuple(fc.boolean(), fc.nat({ max: 150 }));
    const steps = fc.array(step, { maxLength: 600 });
    fc.assert(
      fc.property(steps, fc.constantFrom(1, 5, 100, 1000), (all, countMax) => {
        const model = new Model(countMax);
        for (const [isArriving, slot] of all) {
          if (isArriving) model.push(slot);
          else model.leave(slot);
        }
        model.drain();
      }),
    );
  });

  it('asks for the oldest page while none left otherwise', () => {
    const tags = new Map<number, number>();
    const queue = new FilledQueue(200, {
      tagOf: (slot) => tags.get(slot) ?? -1,
      setTag: (slot, tag) => tags.set(slot, tag),
    });
    for (let slot = 0; slot < 200; slot++) expect(queue.push(slot)).toBe(NO_SLOT);
    for (let slot = 200; slot < 5000; slot++) {
      expect(queue.push(slot)).toBe(slot - 200);
      queue.left();
    }
  });

  it('asks for the oldest page where there is no memory to grow into', () => {
    const model = new Model(1000);
    for (let slot = 0; slot < 64; slot++) model.push(slot);
    vi.stubGlobal(
      'Int32Array',
      class {
        constructor() {
          throw new RangeError('Array buffer allocation failed');
        }
      },
    );
    try {
      expect([64, 65].map((slot) => model.queue.push(slot))).toEqual([0, 1]);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it('takes memory for the pages that are in it, not for those that were', () => {
    const model = new Model(100_000);
    for (let round = 0; round < 60; round++) {
      for (let slot = 0; slot < 100; slot++) model.push(slot);
    }
    expect(model.slots).toHaveLength(100);
    expect(model.queue.metadataBytes).toBeLessThanOrEqual(512 * 4);
    expect(model.queue.growthBytes).toBe(0); // there are entries to spare
    model.drain();
  });

  it('takes no memory for a page that needs another one gone', () => {
    const model = new Model(64);
    for (let slot = 0; slot < 64; slot++) model.push(slot);
    expect(model.queue.growthBytes).toBe(0);
    model.push(64);
    expect(model.queue.metadataBytes).toBe(64 * 4);
  });
});
