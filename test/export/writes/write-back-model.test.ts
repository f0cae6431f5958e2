import { test } from 'vitest';
import { fc } from '../../tools/seed.ts';
import type { Fate } from '../stepped-storage.ts';
import { type Action, PAGES, type RangeKind, UNITS, WriteBackWorld } from './write-back-world.ts';

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
  { weight: 8, arbitrary: ranged(changing) },
  { weight: 2, arbitrary: ranged(others) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('comb'),
      first: fc.nat({ max: PAGES - 1 }),
      step: fc.integer({ min: 2, max: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('pass'), ms: fc.nat({ max: 6000 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('sync', 'freeze', 'thaw') }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('weather'),
      isImageBroken: fc.boolean(),
      isMemoryFull: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('limit', 'cap'),
      part: fc.constantFrom(undefined, undefined, 0, 0.5, 0.9, 1),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('shrink'),
      bytes: fc.constantFrom(1, 65_536, Number.POSITIVE_INFINITY),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('trim to caps'),
      pages: fc.constantFrom(1, 4, 64),
    }),
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
  actions: fc.array(action, { minLength: 10, maxLength: 150 }),
  fates: fc.oneof(fc.constant<Fate[]>(['well']), fc.array(fate, { minLength: 1, maxLength: 40 })),
  refusals: fc.oneof(fc.constant([false]), fc.array(refusal, { minLength: 1, maxLength: 40 })),
  limitPages: fc.constantFrom(1, 3, 8, 1000),
  hasHot: fc.boolean(),
  pageBytes: fc.constantFrom(4096, 4096, 4096, 65_536),
});

test('nothing acknowledged is lost or older, whatever happens in whatever order', async () => {
  await fc.assert(
    fc.asyncProperty(plan, async (each) => {
      const world = new WriteBackWorld(each);
      for (const step of each.actions) await world.carryOut(step);
      await world.finish();
    }),
    { numRuns: 80 },
  );
});
