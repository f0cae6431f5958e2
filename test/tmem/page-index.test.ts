import { describe, expect, it, vi } from 'vitest';
import { NO_SLOT, PageIndex } from '../../src/tmem/page-index.ts';
import { fc } from '../tools/seed.ts';

const POOLS = [0, 1, 7];

const key = (pool: number, object: number, index: number): string => `${pool}/${object}/${index}`;

const pool = fc.constantFrom(...POOLS);
const object = fc.constantFrom(0, 1, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER);
const index = fc.oneof(fc.nat({ max: 40 }), fc.constantFrom(2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1));
const step = fc.tuple(
  fc.constantFrom(
    'insert',
    'insert',
    'insert',
    'run',
    'remove',
    'move',
    'flushObject',
    'flushPool',
  ),
  pool,
  object,
  index,
);

/** An index beside a map from names to slots. */
class Model {
  readonly index = new PageIndex(200);
  readonly #slots = new Map<string, { slot: number; name: [number, number, number] }>();

  constructor() {
    for (const each of POOLS) this.index.createPool(each);
  }

  insert(...name: [number, number, number]): void {
    if (this.#slots.has(key(...name))) return;
    const [inPool, ofObject] = name;
    const before = this.index.metadataBytes;
    const growth = this.index.growthFor(inPool, ofObject);
    const { isFull, isNextSlotFresh, slotsTouched } = this.index;
    const slot = this.index.insert(...name);
    expect(slot === NO_SLOT).toBe(isFull);
    expect(isFull).toBe(this.#slots.size === this.index.slotCountMax);
    if (slot === NO_SLOT) return;
    expect(this.index.metadataBytes - before).toBe(growth);
    expect(this.index.slotsTouched - slotsTouched).toBe(isNextSlotFresh ? 1 : 0);
    this.#slots.set(key(...name), { slot, name });
  }

  remove(...name: [number, number, number]): void {
    const each = this.#slots.get(key(...name));
    if (each === undefined) return;
    this.index.remove(each.slot);
    this.#slots.delete(key(...name));
  }

  /** To the same index of another pool and another object. */
  move(inPool: number, ofObject: number, at: number): void {
    const each = this.#slots.get(key(inPool, ofObject, at));
    const [toPool, toObject] = [7 - inPool * (inPool === 7 ? 1 : 0), 1];
    if (each === undefined || this.#slots.has(key(toPool, toObject, at))) return;
    const most = this.index.metadataBytes + this.index.moveGrowthFor(toPool, toObject);
    this.index.move(each.slot, toPool, toObject);
    expect(this.index.metadataBytes).toBeLessThanOrEqual(most);
    this.#slots.delete(key(inPool, ofObject, at));
    this.#slots.set(key(toPool, toObject, at), { slot: each.slot, name: [toPool, toObject, at] });
  }

  removeAll(slots: readonly number[], isMine: (name: [number, number, number]) => boolean): void {
    const mine = [...this.#slots.values()].filter(({ name }) => isMine(name));
    expect([...slots].sort()).toEqual(mine.map(({ slot }) => slot).sort());
    for (const { name } of mine) this.remove(...name);
  }

  check(): void {
    expect(this.index.count).toBe(this.#slots.size);
    expect(new Set([...this.#slots.values()].map(({ slot }) => slot)).size).toBe(this.index.count);
    // Compared here, and not by `expect`, which takes longer than all else.
    for (const { slot, name } of this.#slots.values()) {
      const { index: it } = this;
      if (it.find(...name) !== slot) expect.fail(`${key(...name)} is not found`);
      const said = key(it.poolOf(slot), it.objectOf(slot), it.indexOf(slot));
      if (said !== key(...name)) expect.fail(`${key(...name)} is said to be ${said}`);
    }
    const objects = new Set<string>();
    for (const { name } of this.#slots.values()) objects.add(`${name[0]}/${name[1]}`);
    for (const each of POOLS) {
      for (const id of this.index.objectsOf(each)) {
        if (!objects.delete(`${each}/${id}`)) expect.fail(`object ${each}/${id} has no pages`);
      }
      for (const id of [0, 1]) {
        const slot = this.index.find(each, id, 5);
        expect(slot !== NO_SLOT).toBe(this.#slots.has(key(each, id, 5)));
      }
    }
    expect(objects.size).toBe(0); // none is left out
  }
}

describe('the page index', () => {
  it('finds what is in it and nothing else, beside a map', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const model = new Model();
        for (const [does, inPool, ofObject, at] of steps) {
          if (does === 'insert') model.insert(inPool, ofObject, at);
          else if (does === 'remove') model.remove(inPool, ofObject, at);
          else if (does === 'move') model.move(inPool, ofObject, at);
          else if (does === 'run') {
            for (let i = 0; i < 30; i++) model.insert(inPool, ofObject, (at + i * 8) % 2 ** 32);
          } else if (does === 'flushObject') {
            const isMine = ([p, o]: number[]): boolean => p === inPool && o === ofObject;
            model.removeAll(model.index.slotsOf(inPool, ofObject), isMine);
          } else {
            model.removeAll(model.index.slotsOfPool(inPool), ([p]) => p === inPool);
          }
          model.check();
        }
      }),
      { numRuns: 60 },
    );
  });

  it('spreads indexes of any stride over its buckets', () => {
    const count = 2048;
    for (let shift = 0; shift <= 21; shift++) {
      const table = new PageIndex(count, 0x1234567);
      table.createPool(1);
      for (let i = 0; i < count; i++) table.insert(1, 0, i * 2 ** shift);
      // Slots come out bucket by bucket. Long chains come out as few long runs, down or up.
      const slots = table.slotsOf(1, 0);
      const turns = slots.filter((slot, i) => {
        const [before, after] = [slots[i - 1] ?? slot, slots[i + 1] ?? slot];
        return slot > before === slot > after;
      });
      const isInOrder = slots.every((slot, i) => i === 0 || slot > (slots[i - 1] ?? slot));
      expect(isInOrder || turns.length > count / 8, `stride 2^${shift}`).toBe(true);
    }
  });

  it('takes memory for what it holds, and gives that of objects back', () => {
    const table = new PageIndex(50_000);
    table.createPool(1);
    const slots = Array.from({ length: 40_000 }, (_, i) => table.insert(1, 0, i));
    const full = table.metadataBytes;
    expect(full).toBeLessThan(40_000 * 16 + 1000);
    for (const slot of slots.slice(100)) table.remove(slot);
    // Rows stay with the slots; the object's table shrinks to what a hundred pages need.
    expect(table.metadataBytes).toBeLessThan(40_000 * 12 + 2000);
    table.createPool(2);
    for (const slot of slots.slice(0, 100)) table.move(slot, 2, 0);
    expect(table.metadataBytes).toBeLessThan(40_000 * 12 + 2000);
    for (const slot of slots.slice(0, 100)) table.remove(slot);
    expect(table.metadataBytes).toBe(40_000 * 12);
    expect(table.slotsTouched).toBe(40_000);
  });

  it('knows pools from the call that makes them to the one that forgets them', () => {
    const table = new PageIndex(4);
    expect(table.insert(3, 0, 0)).toBe(NO_SLOT);
    expect([table.find(3, 0, 0), table.slotsOfPool(3)]).toEqual([NO_SLOT, []]);
    expect([...table.objectsOf(3), ...table.indexesOf(3, 0)]).toEqual([]);
    table.createPool(3);
    const slot = table.insert(3, 0, 0);
    expect([table.find(3, 0, 0), table.slotsOfPool(3)]).toEqual([slot, [slot]]);
    table.remove(slot);
    table.forgetPool(3);
    expect([table.find(3, 0, 0), table.insert(3, 0, 0)]).toEqual([NO_SLOT, NO_SLOT]);
  });

  it('throws for a slot that is not in use', () => {
    const table = new PageIndex(4);
    table.createPool(1);
    const slot = table.insert(1, 0, 0);
    table.insert(1, 0, 1); // the object is still there
    table.remove(slot);
    expect(() => table.remove(slot)).toThrow('not in use');
    expect(() => table.poolOf(slot)).toThrow('not in use');
  });

  it('finds all pages of an object for whose table the system has no more memory', () => {
    const table = new PageIndex(200);
    table.createPool(1);
    const slots = [table.insert(1, 0, 0)];
    const before = table.metadataBytes;
    const allocate = vi.fn(function allocate() {
      throw new RangeError('Array buffer allocation failed');
    });
    vi.stubGlobal('Int32Array', allocate);
    try {
      for (let i = 1; i < 100; i++) slots.push(table.insert(1, 0, i));
    } finally {
      vi.unstubAllGlobals();
    }
    expect(allocate).toHaveBeenCalled();
    expect(table.metadataBytes - before).toBe(99 * 12);
    for (let i = 100; i < 200; i++) slots.push(table.insert(1, 0, i));
    expect(slots.map((_, i) => table.find(1, 0, i))).toEqual(slots);
  });

  it('leaves a page where it is that is to go to a pool which is not known', () => {
    const table = new PageIndex(4);
    table.createPool(1);
    const slot = table.insert(1, 0, 0);
    expect(() => table.move(slot, 9, 0)).toThrow('no pool 9');
    expect([table.find(1, 0, 0), table.slotsOf(1, 0)]).toEqual([slot, [slot]]);
  });

  it('has hashes that tell pages by pool, object and index, in their low bits and in their high ones', () => {
    const [pools, objects, indexes] = [2, 20, 100];
    const count = pools * objects * indexes;
    const table = new PageIndex(count, 0x1234567);
    const hashes: number[] = [];
    for (let inPool = 1; inPool <= pools; inPool++) {
      table.createPool(inPool);
      for (let name = 0; name < objects * indexes; name++) {
        const [ofObject, at] = [Math.floor(name / indexes), name % indexes];
        hashes.push(table.hashOf(table.insert(inPool, ofObject, at)));
      }
    }
    expect(hashes.every((hash) => hash === hash >>> 0)).toBe(true);
    // Of so many drawn at random from 2^16 some 120 meet, and from 2^32 hardly two.
    expect(new Set(hashes).size).toBeGreaterThan(count - 4);
    for (const shift of [0, 8, 16]) {
      const parts = hashes.map((hash) => (hash >>> shift) & 0xffff);
      expect(new Set(parts).size, `from bit ${shift} on`).toBeGreaterThan(count - 200);
    }
  });
});
