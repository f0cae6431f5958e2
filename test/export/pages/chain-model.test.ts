import { expect, test } from 'vitest';
import { fc } from '../../tools/seed.ts';
import { read, write } from '../fixture.ts';
import { RequestsUnderWay } from '../requests-under-way.ts';
import type { Fate } from '../stepped-storage.ts';
import { WriteHistory } from '../write-history.ts';
import {
  type ChainDisk,
  type ChainMode,
  ChainWorld,
  fill,
  PAGE,
  SECTOR,
  SIZE,
  valueIn,
} from './chain-world.ts';

/** More of them find more, and take longer. */
const RUNS = Number(process.env.TMEM_CHAIN_RUNS ?? 80);
const SECTORS = SIZE / SECTOR;
const PAGES = Math.ceil(SIZE / PAGE);
/** Of which every unit in this test is a part: what is trimmed in part is nobody's to say. */
const TRIM_SECTORS = 16;

type Verb = 'read' | 'write' | 'zeroes' | 'trim' | 'prefetch' | 'forget' | 'sync' | 'alone';
type Action =
  | { kind: 'range'; disk: number; verb: Verb; from: number; count: number }
  /** Whole pages are written from `first` on, so many apart, to the end. */
  | { kind: 'comb'; disk: number; first: number; step: number }
  | { kind: 'step'; pick: number }
  | { kind: 'pass'; ms: number };

const verb = fc.constantFrom<Verb>(
  ...(['read', 'read', 'read', 'write', 'write', 'write', 'zeroes', 'trim', 'prefetch'] as const),
  ...(['forget', 'sync', 'alone'] as const),
);
const action = fc.oneof<fc.MaybeWeightedArbitrary<Action>[]>(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('step'), pick: fc.nat() }) },
  {
    weight: 8,
    arbitrary: fc.record({
      ...{ kind: fc.constant('range'), disk: fc.nat({ max: 1 }), verb },
      from: fc.nat({ max: SECTORS - 1 }),
      count: fc.oneof(fc.integer({ min: 1, max: 24 }), fc.constant(SECTORS)),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      ...{ kind: fc.constant('comb'), disk: fc.nat({ max: 1 }) },
      first: fc.nat({ max: PAGES - 1 }),
      step: fc.integer({ min: 2, max: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('pass'), ms: fc.nat({ max: 6000 }) }) },
);
const fate = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Fate>('well') },
  { weight: 1, arbitrary: fc.constantFrom<Fate>('fails at once', 'fails halfway') },
);
const mode = fc.constantFrom<ChainMode>('writethrough', 'writearound', 'writeback');
const plan = fc.record({
  actions: fc.array(action, { minLength: 10, maxLength: 120 }),
  fates: fc.oneof(fc.constant<Fate[]>(['well']), fc.array(fate, { minLength: 1, maxLength: 40 })),
  refusals: fc.oneof(
    fc.constant([false]),
    fc.array(fc.nat(6), { minLength: 1, maxLength: 40 }).map((all) => all.map((n) => n === 0)),
  ),
  modes: fc.oneof(fc.tuple(mode), fc.tuple(mode, mode)),
  unitBytes: fc.constantFrom(2048, 4096, 8192),
  middleData: fc.array(fc.nat(20), { maxLength: 8 }),
  middleZeros: fc.array(fc.nat(20), { maxLength: 4 }),
  piecePages: fc.constantFrom(1, 2, 4, 100),
  pieceCount: fc.constantFrom(1, 2, 3),
  limitPages: fc.constantFrom(1, 4, 1000),
});
type Plan = typeof plan extends fc.Arbitrary<infer Each> ? Each : never;

/** Disks of which every sector is known at every moment. */
class World {
  readonly #chain: ChainWorld;
  readonly #plan: Plan;
  readonly #histories: readonly WriteHistory[];
  readonly #requests = new RequestsUnderWay((cause) => this.#mayFailBy(cause));
  /** Changes that were asked for and not answered. */
  readonly #changing = new Set<{ disk: ChainDisk; offset: number; length: number }>();
  #isOver = false;
  /** A disk lets go of what it is based on. */
  #isLeaving = false;
  #nextValue = 1;

  constructor(each: Plan) {
    this.#plan = each;
    let [requests, allocations] = [0, 0];
    const mayAllocate = () =>
      this.#isOver || each.refusals[allocations++ % each.refusals.length] !== true;
    this.#chain = new ChainWorld({ ...each, mayAllocate });
    for (const storage of this.#chain.storages) {
      storage.fateOf = () =>
        this.#isOver ? 'well' : (each.fates[requests++ % each.fates.length] ?? 'well');
    }
    this.#histories = this.#chain.disks.map((disk) => {
      const pages = Array.from({ length: PAGES }, (_, page) => this.#chain.peek(disk, page));
      const content = Buffer.concat(pages);
      return new WriteHistory(Array.from({ length: SECTORS }, (_, i) => valueIn(content, i)));
    });
  }

  async carryOut(each: Action): Promise<void> {
    if (each.kind === 'step') await this.#step(each.pick);
    else {
      if (each.kind === 'pass') this.#chain.clock.turn(each.ms);
      else if (each.kind === 'comb') this.#comb(each.disk % this.#chain.disks.length, each);
      else this.#begin(each.disk % this.#chain.disks.length, each);
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const disk of this.#chain.disks) this.#checkCaches(disk);
    this.#requests.check();
  }

  /** From now on all goes well: whatever is under way ends, and the images hold what they should. */
  async finish(): Promise<void> {
    this.#isOver = true;
    await this.#settle();
    for (const [i, { target }] of this.#chain.disks.entries()) {
      for (let page = 0; page < PAGES; page++) {
        if (target.writeBack?.tier.isLost(page) !== true) continue;
        const count = Math.min(8, SECTORS - page * 8);
        this.#begin(i, { verb: 'write', from: page * 8, count });
      }
      await this.#settle();
      this.#begin(i, { verb: 'sync', from: 0, count: 1 });
      this.#begin(i, { verb: 'read', from: 0, count: SECTORS });
      await this.#settle();
      target.close();
    }
    expect(this.#chain.disks[0]?.buffers.lentBytes).toBe(0);
    for (const disk of this.#chain.disks) this.#checkCaches(disk);
  }

  async #settle(): Promise<void> {
    const isBusy = () => this.#chain.storages.some(({ steps }) => steps.length > 0);
    for (let steps = 0; this.#requests.count > 0 || isBusy(); steps++) {
      if (steps > 8000) throw new Error('there is no end to it');
      await this.carryOut(isBusy() ? { kind: 'step', pick: steps } : { kind: 'pass', ms: 6000 });
    }
  }

  async #step(pick: number): Promise<void> {
    const storages = this.#chain.storages.filter(({ steps }) => steps.length > 0);
    const storage = storages[pick % Math.max(1, storages.length)];
    if (storage !== undefined) await storage.step(pick % storage.steps.length);
  }

  #begin(i: number, { verb, from, count }: { verb: Verb; from: number; count: number }): void {
    const disk = this.#chain.disks[i]!;
    const { target } = disk;
    const isTrim = verb === 'trim';
    const first = isTrim ? from - (from % TRIM_SECTORS) : from;
    const wanted = isTrim ? Math.ceil(count / TRIM_SECTORS) * TRIM_SECTORS : count;
    const [offset, length] = [first * SECTOR, Math.min(wanted, SECTORS - first) * SECTOR];
    if (verb === 'read') this.#requests.track(this.#read(i, offset, length));
    else if (verb === 'prefetch')
      this.#requests.track(target.reads.prefetch(offset, length, () => true));
    else if (verb === 'sync') this.#requests.track(this.#sync(i));
    else if (verb === 'forget') target.cache.flush(Math.floor(offset / PAGE), 1);
    else if (verb === 'alone') {
      // Others read through the images that the first disk opened.
      if (i === this.#chain.disks.length - 1) this.#requests.track(this.#standAlone(disk));
    } else {
      const data = Buffer.alloc(length);
      if (verb === 'write') {
        for (let n = 0; n < length / SECTOR; n++) fill(data, n, this.#nextValue++);
      }
      const ended = this.#noteChange(i, first, data);
      const changing = { disk, offset, length };
      this.#changing.add(changing);
      const work =
        verb === 'write'
          ? write({ target, buffers: disk.buffers }, offset, data)
          : verb === 'zeroes'
            ? target.writeZeroes(offset, length, length > PAGE)
            : target.trim(offset, length);
      this.#requests.track(work, (wentWell) => {
        this.#changing.delete(changing);
        ended(wentWell);
      });
    }
  }

  #comb(i: number, { first, step }: { first: number; step: number }): void {
    for (let page = first; page < PAGES; page += step) {
      this.#begin(i, { verb: 'write', from: page * 8, count: 8 });
    }
  }

  #noteChange(i: number, first: number, data: Buffer): (wentWell: boolean) => void {
    const ended = Array.from({ length: data.length / SECTOR }, (_, n) =>
      this.#histories[i]!.begin(first + n, valueIn(data, n)),
    );
    return (wentWell) => {
      for (const end of ended) end(wentWell);
    };
  }

  /** A request may fail, for the storages do, and for pages may be lost then; but only so. */
  #mayFailBy(cause: unknown): boolean {
    const canFail = this.#plan.fates.some((each) => each !== 'well');
    return canFail && /as the test wants|damaged in memory/.test(String(cause));
  }

  async #read(i: number, offset: number, length: number): Promise<void> {
    const asked = this.#histories[i]!.now();
    const { target, buffers } = this.#chain.disks[i]!;
    this.#check(i, await read({ target, buffers }, offset, length), offset / SECTOR, asked);
  }

  /** What was answered before is in the images when a sync is answered. */
  async #sync(i: number): Promise<void> {
    const asked = this.#histories[i]!.now();
    const disk = this.#chain.disks[i]!;
    await disk.target.sync();
    const pages = Array.from({ length: PAGES }, (_, page) => this.#chain.peek(disk, page));
    this.#check(i, Buffer.concat(pages).subarray(0, SIZE), 0, asked);
  }

  /** As the service does when the background copy is complete. */
  async #standAlone({ target }: ChainDisk): Promise<void> {
    const { image, pages } = target;
    if (this.#isLeaving || image.backing === undefined) return;
    this.#isLeaving = true;
    try {
      await image.copyUp(0, SIZE);
      await pages.chain?.standAlone();
      await image.dropBacking();
    } finally {
      this.#isLeaving = false;
    }
  }

  #check(i: number, data: Buffer, first: number, asked: number): void {
    for (let n = 0; n < data.length / SECTOR; n++) {
      const value = valueIn(data, n);
      if (this.#histories[i]!.mayRead(first + n, value, asked)) continue;
      throw new Error(`disk ${i}: got ${value} in sector ${first + n}: it is older than it may be`);
    }
  }

  /** A page that is found clean is what the images hold, unless it is being changed. */
  #checkCaches(disk: ChainDisk): void {
    const { pages } = disk.target;
    const page = Buffer.alloc(PAGE);
    for (let index = 0; index < PAGES; index++) {
      if (pages.isDirty(index) || !pages.clean.has(index)) continue;
      const [start, end] = [index * PAGE, (index + 1) * PAGE];
      const isChanging = [...this.#changing].some(
        ({ disk: one, offset, length }) => one === disk && offset < end && start < offset + length,
      );
      if (isChanging) continue;
      pages.clean.get(index, page, 0);
      if (page.equals(this.#chain.peek(disk, index))) continue;
      throw new Error(`page ${index} of ${disk.target.name} is not what its images hold`);
    }
  }
}

test('disks that share what they are based on find what was written to each, in every mode', async () => {
  await fc.assert(
    fc.asyncProperty(plan, async (each) => {
      const world = new World(each);
      for (const step of each.actions) await world.carryOut(step);
      await world.finish();
    }),
    { numRuns: RUNS },
  );
});
