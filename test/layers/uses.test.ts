import { describe, expect, it } from 'vitest';
import { loadCodec } from '../../src/layers/codec.ts';
import { Hot } from '../../src/layers/hot.ts';
import { Zcache } from '../../src/layers/zcache.ts';
import { POLICIES } from '../../src/policy/policies.ts';
import { Account } from '../../src/tmem/account.ts';
import { createEncodedPage, type Layer, RAW } from '../../src/tmem/layer.ts';
import { type Lender, NO_LOAN } from '../../src/tmem/lender.ts';
import { pageOf } from '../tmem/page-content.ts';

const PAGE = 4096;
const MIB = 2 ** 20;
const POOL = 1;
const DIRTY = 2;
const dst = Buffer.alloc(PAGE);

const common = { pageBytesMax: PAGE, policy: POLICIES.lru, codec: loadCodec() };
const makeZcache = () => new Zcache({ ...common, limitBytes: MIB });
const makeHot = () => {
  const next = new Zcache({ ...common, limitBytes: 0 });
  return new Hot({ ...common, limitBytes: MIB, next });
};

function put(layer: Layer, index: number): void {
  layer.put(POOL, 0, index, RAW, pageOf(PAGE, 'half', index), 0, PAGE);
}

/** What is done with page 0, and whether that is a use of it. */
type Deed<L> = readonly [name: string, isUse: boolean, act: (layer: L) => void];

const DEEDS: readonly Deed<Layer>[] = [
  ['is read', true, (layer) => layer.get(POOL, 0, 0, dst, 0)],
  ['is written again', true, (layer) => put(layer, 0)],
  ['is read ahead of its reader', false, (layer) => layer.get(POOL, 0, 0, dst, 0, false)],
  ['is copied', false, (layer) => layer.copy(POOL, 0, 0, dst, 0)],
  ['is looked for', false, (layer) => layer.has(POOL, 0, 0)],
  ['is peeked at', false, (layer) => layer.peek(POOL, 0, 0, createEncodedPage())],
];

/** To the pages that are to be written, and to the clean ones again. */
const handOver = (layer: Layer) => {
  expect(layer.transfer(POOL, DIRTY, 0, 0)).toBe(true);
  expect(layer.transfer(DIRTY, POOL, 0, 0)).toBe(true);
};

const lend = (lender: Lender, isUse: boolean) => {
  const loan = lender.lend(POOL, 0, 0, isUse);
  expect(loan).not.toBe(NO_LOAN);
  lender.returnLoan(loan);
};

const IN_HOT: readonly Deed<Hot>[] = [
  ['is handed over', false, handOver],
  ['is lent', true, (hot) => lend(hot, true)],
  ['is lent ahead of its reader', false, (hot) => lend(hot, false)],
];

/** Whether page 0 outlives page 1, which came right after it and is not used. */
function outlives<L extends Layer>(layer: L, act: (layer: L) => void): boolean {
  const account = new Account({ name: 'tested' });
  layer.createPool({ id: POOL, isPersistent: false, pageBytes: PAGE, account });
  layer.createPool({ id: DIRTY, isPersistent: true, pageBytes: PAGE, account });
  let index = 0;
  for (; index < 50; index++) put(layer, index);
  act(layer);
  for (; layer.has(POOL, 0, 1) && index < 10_000; index++) put(layer, index);
  return layer.has(POOL, 0, 0);
}

describe('by lru, of two pages that came one after the other, the first', () => {
  it.each(DEEDS)('stays in zcache if it %s: %s', (_name, isUse, act) => {
    expect(outlives(makeZcache(), act)).toBe(isUse);
  });

  it.each([...DEEDS, ...IN_HOT])('stays in hot if it %s: %s', (_name, isUse, act) => {
    expect(outlives(makeHot(), act)).toBe(isUse);
  });
});
