/** The data plane against a map of what a client was told is held. */

import { expect, test } from 'vitest';
import { fc } from '../tools/seed.ts';
import { type BatchItem, decodeResults, encodeBatch } from './batch-form.ts';
import { type AdminFixture, MIB, page, startAdmin } from './fixture.ts';

const object = fc.integer({ min: 0, max: 2 });
const index = fc.integer({ min: 0, max: 3 });
const seed = fc.integer({ min: 0, max: 1_000_000 });

const item = fc.oneof(
  fc.record({ do: fc.constant('put' as const), object, index, seed }),
  fc.record({ do: fc.constant('get' as const), object, index }),
  fc.record({ do: fc.constant('take' as const), object, index }),
  fc.record({ do: fc.constant('flushPage' as const), object, index }),
  fc.record({ do: fc.constant('flushObject' as const), object }),
);
const step = fc.oneof(
  { weight: 6, arbitrary: item },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('putObject' as const),
      object,
      seeds: fc.array(seed, { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('getObject' as const),
      object,
      count: fc.option(fc.integer({ min: 1, max: 4 })),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('batch' as const), items: fc.array(item) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('freeze' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('thaw' as const) }) },
);
type Item = typeof item extends fc.Arbitrary<infer T> ? T : never;
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** One pool, and what of it must be held: nothing else is. */
class Model {
  readonly #admin: AdminFixture;
  readonly #pool: Awaited<ReturnType<AdminFixture['makePool']>>;
  readonly #held = new Map<number, Map<number, Buffer>>();

  constructor(admin: AdminFixture, pool: Awaited<ReturnType<AdminFixture['makePool']>>) {
    this.#admin = admin;
    this.#pool = pool;
  }

  async run(step: Step): Promise<void> {
    if (step.do === 'batch') return this.#batch(step.items);
    if (step.do === 'putObject') return this.#putObject(step.object, step.seeds);
    if (step.do === 'getObject') return this.#getObject(step.object, step.count);
    if (step.do === 'freeze' || step.do === 'thaw') {
      await this.#admin.ask('POST', `/v1/${step.do}`);
      return;
    }
    const target = `/objects/${step.object}`;
    if (step.do === 'flushObject') {
      const { json } = await this.#ask('DELETE', target);
      expect(json.flushedPages).toBe(this.#drop(step.object));
      return;
    }
    const place = `${target}/pages/${step.index}`;
    if (step.do === 'put') {
      const bytes = page(step.seed);
      const { status } = await this.#ask('PUT', place, bytes);
      this.#answered(step.object, step.index, bytes, status === 200);
    } else if (step.do === 'flushPage') {
      const { json } = await this.#ask('DELETE', place);
      expect(json.flushedPages).toBe(this.#take(step.object, step.index) === undefined ? 0 : 1);
    } else {
      const query = step.do === 'take' ? '?exclusive=true' : '';
      const { status, bytes } = await this.#ask('GET', `${place}${query}`);
      const expected = this.#get(step.object, step.index, step.do === 'take');
      expect(status === 200 ? bytes : undefined).toEqual(expected);
    }
  }

  async #putObject(object: number, seeds: readonly number[]): Promise<void> {
    const pages = seeds.map((each) => page(each));
    const { status } = await this.#ask('PUT', `/objects/${object}`, Buffer.concat(pages));
    this.#drop(object);
    if (status !== 200) return;
    for (const [index, bytes] of pages.entries()) this.#answered(object, index, bytes, true);
  }

  async #getObject(object: number, count: number | null): Promise<void> {
    const query = count === null ? '' : `?count=${count}`;
    const { status, bytes, json } = await this.#ask('GET', `/objects/${object}${query}`);
    const row: Buffer[] = [];
    for (let i = 0; i < (count ?? 1024); i++) {
      const held = this.#get(object, i, false);
      if (held === undefined) break;
      row.push(held);
    }
    const isComplete = row.length > 0 && (count === null || row.length === count);
    expect(status).toBe(isComplete ? 200 : 404);
    if (isComplete) expect(bytes).toEqual(Buffer.concat(row));
    else expect(json.index).toBe(row.length);
  }

  async #batch(items: readonly Item[]): Promise<void> {
    const sent = items.map((each): BatchItem => {
      return each.do === 'put' ? { ...each, page: page(each.seed) } : each;
    });
    const { status, bytes } = await this.#ask('POST', '/batch', encodeBatch(sent));
    expect(status).toBe(200);
    const results = decodeResults(bytes);
    expect(results.length).toBe(items.length);
    for (const [i, each] of sent.entries()) {
      const result = results[i];
      if (each.do === 'put') {
        this.#answered(each.object, each.index, each.page, result?.outcome === 0);
      } else if (each.do === 'flushObject') {
        expect(result?.value).toBe(this.#drop(each.object));
      } else if (each.do === 'flushPage') {
        expect(result?.value).toBe(this.#take(each.object, each.index) === undefined ? 0 : 1);
      } else {
        expect(result?.page).toEqual(this.#get(each.object, each.index, each.do === 'take'));
      }
    }
  }

  #ask(method: string, rest: string, bytes?: Buffer) {
    const { path, key } = this.#pool;
    return this.#admin.ask(
      method,
      `${path}${rest}`,
      bytes === undefined ? { key } : { key, bytes },
    );
  }

  #answered(object: number, index: number, bytes: Buffer, isHeld: boolean): void {
    const pages = this.#held.get(object) ?? new Map<number, Buffer>();
    this.#held.set(object, pages);
    if (isHeld) pages.set(index, bytes);
    else pages.delete(index);
  }

  #get(object: number, index: number, isTaken: boolean): Buffer | undefined {
    return isTaken ? this.#take(object, index) : this.#held.get(object)?.get(index);
  }

  #take(object: number, index: number): Buffer | undefined {
    const held = this.#held.get(object)?.get(index);
    this.#held.get(object)?.delete(index);
    return held;
  }

  #drop(object: number): number {
    const count = this.#held.get(object)?.size ?? 0;
    this.#held.delete(object);
    return count;
  }
}

test('a client reads what it was told is held, to the byte, and nothing else', async () => {
  const admin = await startAdmin({ memoryBytes: 16 * MIB });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const pool = await admin.makePool({ kind: 'persistent' });
      const model = new Model(admin, pool);
      for (const each of steps) await model.run(each);
      await admin.ask('POST', '/v1/thaw');
      await admin.ask('DELETE', pool.path, { key: pool.key });
    }),
    { numRuns: 60 },
  );
  expect((await admin.ask('GET', '/v1/pools')).json.pools).toMatchObject([{ bytes: 0 }]);
});
