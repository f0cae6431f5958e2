import { describe, it } from 'vitest';
import { COMPOSITIONS } from '../layers/compositions.ts';
import { fc } from '../tools/seed.ts';
import { Model, SHARED_NAME, SHARING_CLIENTS } from './model.ts';
import { PAGE_KINDS } from './page-content.ts';

const LIMIT_BYTES = 768 * 1024;

/** A step, and how a failing run shows it. */
interface Step {
  readonly run: (model: Model) => void;
  readonly [fc.toStringMethod]: () => string;
}

function step<Arguments extends unknown[]>(
  weight: number,
  name: string,
  values: fc.Arbitrary<Arguments>,
  act: (model: Model, ...values: Arguments) => void,
): fc.WeightedArbitrary<Step> {
  const arbitrary = values.map((each) => ({
    run: (model: Model) => act(model, ...each),
    [fc.toStringMethod]: () => `${name}(${each.map((value) => fc.stringify(value)).join(', ')})`,
  }));
  return { weight, arbitrary };
}

const pool = fc.nat({ max: 5 });
const object = fc.constantFrom(0, 1, 2, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER);
const index = fc.oneof(fc.nat({ max: 20 }), fc.constantFrom(2 ** 31, 2 ** 32 - 1));
const kind = fc.constantFrom(...PAGE_KINDS);

const options = fc.oneof(
  fc.record({
    kind: fc.constantFrom('ephemeral' as const, 'persistent' as const),
    pageBytes: fc.constantFrom(4096, 4096, 8192, 16384, 65536),
    isExclusive: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('ephemeral' as const),
    sharedName: fc.constant(SHARED_NAME),
    client: fc.constantFrom(...SHARING_CLIENTS),
    isExclusive: fc.boolean(),
  }),
);

/** The number of one of the model's accounts, or of none. */
const account = fc.nat({ max: 3 });
const name = fc.tuple(pool, object, index);
const run = fc.tuple(pool, object, index, kind, fc.nat({ max: 80 }));
const bytes = fc.constantFrom(0, 1, 70_000, 300_000, Number.POSITIVE_INFINITY);

const steps: fc.Arbitrary<Step> = fc.oneof(
  step(30, 'put', fc.tuple(pool, object, index, kind), (model, ...of) => model.put(...of)),
  // Many pages in a row, so that room gets short.
  step(14, 'putRun', run, (model, at, id, first, of, count) => {
    for (let i = 0; i < count; i++) model.put(at, id, (first + i) % 2 ** 32, of);
  }),
  step(40, 'get', name, (model, ...of) => model.get(...of)),
  step(12, 'transfer', fc.tuple(pool, pool, object, index), (model, ...of) => {
    model.transfer(...of);
  }),
  step(1, 'list', fc.tuple(pool), (model, at) => model.list(at)),
  step(10, 'lend', name, (model, ...of) => model.lend(...of)),
  step(8, 'returnLoan', fc.tuple(fc.nat()), (model, at) => model.returnLoan(at)),
  step(8, 'flushPage', name, (model, ...of) => model.flushPage(...of)),
  step(3, 'flushObject', fc.tuple(pool, object), (model, ...of) => model.flushObject(...of)),
  step(3, 'createPool', fc.tuple(options, account), (model, ...of) => model.createPool(...of)),
  step(2, 'destroyPool', fc.tuple(pool), (model, at) => model.destroyPool(at)),
  step(3, 'shrink', fc.tuple(bytes), (model, by) => model.shrink(by)),
  step(3, 'setLimit', fc.tuple(fc.constantFrom(0, 200_000, 800_000, 4_000_000)), (model, to) =>
    model.setLimit(to),
  ),
  step(
    3,
    'setCap',
    fc.tuple(fc.nat({ max: 1 }), fc.constantFrom(0, 30_000, 150_000, 400_000)),
    (model, ...of) => model.setCap(...of),
  ),
  step(3, 'setFrozen', fc.tuple(fc.boolean()), (model, isFrozen) => model.setFrozen(isFrozen)),
  step(3, 'setMayAllocate', fc.tuple(fc.boolean()), (model, may) => {
    model.mayAllocate = may;
  }),
);

const runs = fc.tuple(
  fc.array(fc.tuple(options, account), { minLength: 2, maxLength: 4 }),
  fc.array(steps, { minLength: 20, maxLength: 200 }),
);

describe('a stack of layers, beside a model', () => {
  for (const [name, make] of Object.entries(COMPOSITIONS)) {
    it(`answers the newest version or a miss, keeps what it must and counts right: ${name}`, () => {
      fc.assert(
        fc.property(runs, ([pools, acts]) => {
          const model = new Model((mayAllocate) =>
            make({ limitBytes: LIMIT_BYTES, pageBytesMax: 65536, mayAllocate }),
          );
          for (const each of pools) model.createPool(...each);
          for (const act of acts) {
            act.run(model);
            model.check();
          }
          model.finish();
        }),
        { numRuns: 20 },
      );
    });
  }
});
