import fc from 'fast-check';
import { expect, test } from 'vitest';
import { read, write } from '../fixture.ts';
import { type Fate, SteppedStorage, TRIMMED } from '../stepped-storage.ts';
import { WriteHistory } from '../write-history.ts';
import { type WriteBackParts, writeAtOnce, writeBackOn } from './write-back-fixture.ts';

const PAGE = 4096;
const UNIT = 512; // requests are whole units, so that a unit is never of two minds
const SIZE = 20 * PAGE + 3 * UNIT; // with a tail
const UNITS = SIZE / UNIT;
const UNITS_PER_PAGE = PAGE / UNIT;
const TRIMMED_VALUE = (TRIMMED * 0x01010101) >>> 0;
const PAGES = Math.ceil(SIZE / PAGE);

type RangeKind = 'read' | 'write' | 'slow write' | 'zeroes' | 'trim' | 'prefetch' | 'forget';
type Action =
  | { kind: 'range'; what: RangeKind; from: number; units: number }
  | { kind: 'step'; pick: number }
  | { kind: 'pass'; ms: number }
  | { kind: 'sync' }
  | { kind: 'freeze' }
  | { kind: 'thaw' };

interface Plan {
  readonly actions: readonly Action[];
  readonly fates: readonly Fate[];
  readonly refusals: readonly boolean[];
  readonly limitPages: number;
  readonly hasHot: boolean;
}

const range = {
  from: fc.nat({ max: UNITS - 1 }),
  units: fc.oneof(fc.integer({ min: 1, max: 24 }), fc.constant(UNITS)),
};
const changing = fc.constantFrom<RangeKind>('write', 'write', 'slow write');
const others = fc.constantFrom<RangeKind>('zeroes', 'trim', 'prefetch', 'forget');
const ranged = (what: fc.Arbitrary<RangeKind>): fc.Arbitrary<Action> =>
  fc.record({ kind: fc.constant('range'), what, ...range });
const action = fc.oneof<fc.MaybeWeightedArbitrary<Action>[]>(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant('step'), pick: fc.nat() }) },
  { weight: 2, arbitrary: ranged(fc.constant('read')) },
  { weight: 6, arbitrary: ranged(changing) },
  { weight: 2, arbitrary: ranged(others) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('pass'), ms: fc.nat({ max: 6000 }) }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Action>(
      ...[{ kind: 'sync' } as const, { kind: 'freeze' } as const, { kind: 'thaw' } as const],
    ),
  },
);
const fate = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Fate>('well') },
  { weight: 1, arbitrary: fc.constantFrom<Fate>('fails at once', 'fails halfway') },
);
const refusal = fc.oneof(
  { weight: 6, arbitrary: fc.constant(false) },
  { weight: 1, arbitrary: fc.constant(true) },
);
const plan = fc.record({
  actions: fc.array(action, { minLength: 10, maxLength: 100, size: 'max' }),
  fates: fc.oneof(fc.constant<Fate[]>(['well']), fc.array(fate, { minLength: 1, maxLength: 40 })),
  refusals: fc.oneof(fc.constant([false]), fc.array(refusal, { minLength: 1, maxLength: 40 })),
  limitPages: fc.constantFrom(1, 3, 8, 1000),
  hasHot: fc.boolean(),
});

/** A disk of which every unit is known at every moment. */
class World {
  readonly storage = new SteppedStorage(Buffer.alloc(SIZE));
  readonly parts: WriteBackParts;
  readonly #history: WriteHistory;
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #plan: Plan;
  /** From the end of the plan on the disk and the memory behave. */
  #isOver = false;
  #nextValue = 1;
  #failure: unknown;

  constructor(each: Plan) {
    this.#plan = each;
    for (let unit = 0; unit < UNITS; unit++) fill(this.storage.disk, unit, this.#nextValue++);
    const values = Array.from({ length: UNITS }, (_, unit) => valueIn(this.storage.disk, unit));
    this.#history = new WriteHistory(values);
    const { fates, refusals, limitPages, hasHot } = each;
    let [requests, allocations] = [0, 0];
    this.storage.fateOf = () =>
      this.#isOver ? 'well' : (fates[requests++ % fates.length] ?? 'well');
    const mayAllocate = () => this.#isOver || refusals[allocations++ % refusals.length] !== true;
    this.parts = writeBackOn(this.storage, { limitPages, hasHot, mayAllocate });
  }

  async carryOut(each: Action): Promise<void> {
    const { clock, tmem } = this.parts;
    if (each.kind === 'step') {
      const { steps } = this.storage;
      if (steps.length > 0) await this.storage.step(each.pick % steps.length);
    } else {
      if (each.kind === 'pass') clock.turn(each.ms);
      else if (each.kind === 'freeze') tmem.freeze();
      else if (each.kind === 'thaw') tmem.thaw();
      else if (each.kind === 'sync') this.#track(this.#sync());
      else {
        const offset = each.from * UNIT;
        this.#begin(each.what, offset, Math.min(each.units * UNIT, SIZE - offset));
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#checkMemory();
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Disk and memory behave: whatever is under way ends, a sync goes well, nothing is left behind. */
  async finish(): Promise<void> {
    this.#isOver = true;
    this.parts.tmem.thaw();
    await this.#settle();
    const { table, tier, buffers, writerBuffers, clock, target } = this.parts;
    for (let page = 0; page < PAGES; page++) {
      if (tier.isLost(page)) await this.#settle(() => this.#begin('write', page * PAGE, PAGE));
    }
    let isSynced = false;
    await this.#settle(() => {
      this.#track(this.#sync().then(() => (isSynced = true)));
    });
    expect(isSynced).toBe(true);
    expect([table.count, table.writingCount, table.owedCount, table.lostCount]).toEqual(
      [0, 0, 0, 0], // and so nothing is in the queues
    );
    expect(table.failedCount + table.troubledCount).toBe(0);
    expect([buffers.lentBytes, writerBuffers.lentBytes]).toEqual([0, 0]);
    expect(this.parts.frontswap.pool.objects()[Symbol.iterator]().next().done).toBe(true);
    expect(tier.isEmpty).toBe(true);
    clock.turn(100_000);
    target.close();
    expect(this.storage.steps.length).toBe(0);
  }

  /** Takes steps until nothing is under way any more; pauses between retries pass. */
  async #settle(begin: () => void = () => undefined): Promise<void> {
    begin();
    for (let steps = 0; this.#underWay.size > 0 || this.storage.steps.length > 0; steps++) {
      if (steps > 5000) throw new Error('there is no end to it');
      await this.carryOut(
        this.storage.steps.length > 0 ? { kind: 'step', pick: steps } : { kind: 'pass', ms: 6000 },
      );
    }
  }

  #begin(kind: RangeKind, offset: number, length: number): void {
    const { target, cache } = this.parts;
    if (kind === 'forget') cache.flush(Math.floor(offset / PAGE), 1);
    else if (kind === 'read') this.#track(this.#read(offset, length));
    else if (kind === 'prefetch') {
      this.#track(target.reads.prefetch(offset, length, () => true));
    } else if (kind === 'zeroes') {
      const ended = this.#noteChange(offset, length, () => 0);
      this.#track(target.writeZeroes(offset, length, false), ended);
    } else if (kind === 'trim') {
      const ended = this.#noteChange(offset, length, () => TRIMMED_VALUE);
      this.#track(target.trim(offset, length), ended);
    } else {
      const data = Buffer.alloc(length);
      for (let unit = 0; unit < length / UNIT; unit++) fill(data, unit, this.#nextValue++);
      const ended = this.#noteChange(offset, length, (unit) => valueIn(data, unit));
      const way = kind === 'write' ? writeAtOnce : write;
      this.#track(way(this.parts, offset, data), ended);
    }
  }

  #noteChange(
    offset: number,
    length: number,
    valueAt: (unit: number) => number,
  ): (wentWell: boolean) => void {
    const first = offset / UNIT;
    const ended: ((wentWell: boolean) => void)[] = [];
    for (let unit = first; unit < first + length / UNIT; unit++) {
      const value = valueAt(unit - first);
      // Of a page that is trimmed in part, what is in memory may stay.
      const page = Math.floor(unit / UNITS_PER_PAGE);
      const isWhole = page * PAGE >= offset && Math.min(SIZE, (page + 1) * PAGE) <= offset + length;
      ended.push(this.#history.begin(unit, value, value !== TRIMMED_VALUE || isWhole));
    }
    return (wentWell) => {
      for (const end of ended) end(wentWell);
    };
  }

  /** A request may fail, for the storage does, and for pages may be lost then; but only so. */
  #track(work: Promise<unknown>, ended: (wentWell: boolean) => void = () => undefined): void {
    this.#underWay.add(work);
    const end = (wentWell: boolean): void => {
      this.#underWay.delete(work);
      ended(wentWell);
    };
    work.then(
      () => end(true),
      (cause: unknown) => {
        end(false);
        const { fates, refusals, limitPages } = this.#plan;
        const canFail = fates.some((each) => each !== 'well');
        const canRefuse = refusals.includes(true) || limitPages < PAGES;
        if (canFail && /as the test wants/.test(String(cause))) return;
        if (canFail && canRefuse && /damaged in memory/.test(String(cause))) return;
        this.#failure ??= cause;
      },
    );
  }

  async #read(offset: number, length: number): Promise<void> {
    const asked = this.#history.now();
    const data = await read(this.parts, offset, length);
    this.#check(data, offset / UNIT, asked, 'read');
  }

  async #sync(): Promise<void> {
    const asked = this.#history.now();
    await this.parts.target.sync();
    this.#check(this.storage.disk, 0, asked, 'synced');
  }

  #check(data: Buffer, first: number, asked: number, what: string): void {
    for (let unit = 0; unit < data.length / UNIT; unit++) {
      const value = valueIn(data, unit);
      if (this.#history.mayRead(first + unit, value, asked)) continue;
      throw new Error(`${what} ${value} in unit ${first + unit}: it is older than it may be`);
    }
  }

  /** At every moment a page is clean, and what the disk is, or dirty and held, or neither. */
  #checkMemory(): void {
    const { cache, tier, frontswap, table } = this.parts;
    const [page, onDisk] = [Buffer.alloc(PAGE), Buffer.alloc(PAGE)];
    let dirtyCount = 0;
    for (let index = 0; index < PAGES; index++) {
      const isHeld = tier.isHeld(index);
      if (table.has(index)) dirtyCount++;
      const isStored = table.has(index) && !tier.isLost(index);
      if (!isHeld && frontswap.pool.has(0, index) !== isStored) {
        throw new Error(`page ${index} is ${isStored ? 'dirty and not' : 'not dirty and'} stored`);
      }
      if (!cache.has(index)) continue;
      if (tier.has(index)) throw new Error(`page ${index} is clean and dirty`);
      const [start, end] = [index * PAGE, Math.min(SIZE, (index + 1) * PAGE)];
      const isChanging = [...this.storage.changing].some(
        ({ offset, length }) => offset < end && start < offset + length,
      );
      if (isChanging) continue;
      cache.get(index, page, 0);
      onDisk.fill(0);
      this.storage.disk.copy(onDisk, 0, start, end);
      if (!page.equals(onDisk)) throw new Error(`page ${index} of the cache is not the disk's`);
    }
    expect(table.count).toBe(dirtyCount);
    expect(table.count).toBeLessThanOrEqual(this.#plan.limitPages);
    expect(table.owedCount).toBeGreaterThanOrEqual(0);
  }
}

function fill(to: Buffer, unit: number, value: number): void {
  for (let at = unit * UNIT; at < (unit + 1) * UNIT; at += 4) to.writeUInt32BE(value, at);
}

function valueIn(from: Buffer, unit: number): number {
  const value = from.readUInt32BE(unit * UNIT);
  if (from.readUInt32BE((unit + 1) * UNIT - 4) !== value) throw new Error('half a unit');
  return value;
}

test('nothing acknowledged is lost or older, whatever happens in whatever order', async () => {
  await fc.assert(
    fc.asyncProperty(plan, async (each) => {
      const world = new World(each);
      for (const step of each.actions) await world.carryOut(step);
      await world.finish();
    }),
    { numRuns: 150 },
  );
});
