import { expect, test } from 'vitest';
import { fc } from '../tools/seed.ts';
import { exportOn, makeMemory, read, write } from './fixture.ts';
import { RequestsUnderWay } from './requests-under-way.ts';
import { type Fate, SteppedStorage } from './stepped-storage.ts';

const PAGE = 4096;
const UNIT = 512; // requests are whole units, so that a unit is never of two minds
const SIZE = 6 * PAGE + 3 * UNIT; // with a tail
const UNITS = SIZE / UNIT;

const MEMORY = makeMemory();

type Action =
  | {
      kind: 'read' | 'write' | 'zeroes' | 'trim' | 'prefetch' | 'forget';
      from: number;
      units: number;
    }
  | { kind: 'step'; pick: number };

const range = { from: fc.nat({ max: UNITS - 1 }), units: fc.integer({ min: 1, max: 24 }) };
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('step' as const), pick: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('read', 'write'), ...range }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('zeroes', 'trim', 'prefetch', 'forget'),
      ...range,
    }),
  },
) as fc.Arbitrary<Action>;
const fates = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.constant<Fate>('well') },
    { weight: 1, arbitrary: fc.constantFrom<Fate>('fails at once', 'fails halfway') },
  ),
  { minLength: 1, maxLength: 40 },
);

/** A disk of which every unit is known at every moment. */
class World {
  readonly storage = new SteppedStorage(Buffer.alloc(SIZE));
  readonly parts = exportOn(this.storage, MEMORY);
  /** What each unit has been, and since when. */
  readonly #history: { since: number; value: number }[][];
  /** A request may fail, for the storage does; but only so. */
  readonly #requests = new RequestsUnderWay((cause) => /as the test wants/.test(String(cause)));
  #time = 0;
  #nextValue = 1;

  constructor(fate: readonly Fate[]) {
    for (let unit = 0; unit < UNITS; unit++) this.#fill(this.storage.disk, unit, this.#nextValue++);
    this.#history = Array.from({ length: UNITS }, (_, unit) => [
      { since: 0, value: this.#valueOf(this.storage.disk, unit) },
    ]);
    let requests = 0;
    this.storage.fateOf = () => fate[requests++ % fate.length] ?? 'well';
    this.storage.onChange = () => this.#noteChange();
  }

  async carryOut(action: Action): Promise<void> {
    this.#time++;
    if (action.kind === 'step') {
      const { steps } = this.storage;
      if (steps.length > 0) await this.storage.step(action.pick % steps.length);
    } else {
      const offset = action.from * UNIT;
      this.#begin(action.kind, offset, Math.min(action.units * UNIT, SIZE - offset));
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#requests.check();
    this.#checkCache();
  }

  /** Whatever is under way ends, and nothing is left behind. */
  async finish(): Promise<void> {
    for (let steps = 0; this.storage.steps.length > 0; steps++) {
      if (steps > 10_000) throw new Error('there is no end to it');
      await this.carryOut({ kind: 'step', pick: steps });
    }
    await new Promise((resolve) => setImmediate(resolve));
    this.#requests.check();
    expect(this.#requests.count).toBe(0);
    expect(MEMORY.buffers.lentBytes).toBe(0);
    this.#checkCache();
    this.parts.cache.pool.destroy();
  }

  #begin(kind: string, offset: number, length: number): void {
    const { target, cache } = this.parts;
    if (kind === 'forget') cache.flush(Math.floor(offset / PAGE), 1);
    else if (kind === 'read') this.#requests.track(this.#read(offset, length));
    else if (kind === 'write') {
      const data = Buffer.alloc(length);
      for (let unit = 0; unit < length / UNIT; unit++) this.#fill(data, unit, this.#nextValue++);
      this.#requests.track(write(this.parts, offset, data));
    } else if (kind === 'zeroes') this.#requests.track(target.writeZeroes(offset, length, false));
    else if (kind === 'trim') this.#requests.track(target.trim(offset, length));
    else this.#requests.track(target.reads.prefetch(offset, length, () => true));
  }

  async #read(offset: number, length: number): Promise<void> {
    const began = this.#time;
    const data = await read(this.parts, offset, length);
    for (let unit = 0; unit < length / UNIT; unit++) {
      const history = this.#history[offset / UNIT + unit] ?? [];
      const value = this.#valueOf(data, unit);
      const wasThere = history.some((each, i) => {
        const until = history[i + 1]?.since ?? Number.POSITIVE_INFINITY;
        return each.value === value && until >= began;
      });
      if (!wasThere) throw new Error(`read ${value} in unit ${offset / UNIT + unit}: it is older`);
    }
  }

  /** Cached pages are what the disk is, at every moment. */
  #checkCache(): void {
    const page = Buffer.alloc(PAGE);
    for (let index = 0; index * PAGE < SIZE; index++) {
      if (!this.parts.cache.has(index)) continue;
      this.parts.cache.get(index, page, 0);
      const onDisk = Buffer.alloc(PAGE);
      this.storage.disk.copy(onDisk, 0, index * PAGE, Math.min(SIZE, (index + 1) * PAGE));
      if (!page.equals(onDisk)) throw new Error(`page ${index} of the cache is not the disk's`);
    }
  }

  #noteChange(): void {
    for (const [unit, history] of this.#history.entries()) {
      const value = this.#valueOf(this.storage.disk, unit);
      if (history.at(-1)?.value !== value) history.push({ since: this.#time, value });
    }
  }

  #fill(to: Buffer, unit: number, value: number): void {
    for (let at = unit * UNIT; at < (unit + 1) * UNIT; at += 4) to.writeUInt32BE(value, at);
  }

  #valueOf(from: Buffer, unit: number): number {
    const value = from.readUInt32BE(unit * UNIT);
    if (from.readUInt32BE((unit + 1) * UNIT - 4) !== value) throw new Error('half a unit');
    return value;
  }
}

test('the cache is never older than the disk, whatever happens in whatever order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(action, { minLength: 10, maxLength: 80 }),
      fates,
      async (actions, fate) => {
        const world = new World(fate);
        for (const each of actions) await world.carryOut(each);
        await world.finish();
      },
    ),
    { numRuns: 150 },
  );
});
