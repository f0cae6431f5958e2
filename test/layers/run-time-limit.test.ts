import { describe, expect, it, vi } from 'vitest';
import { loadCodec } from '../../src/layers/codec.ts';
import { Zcache } from '../../src/layers/zcache.ts';
import type { ForgetMemory } from '../../src/lib/forget-memory.ts';
import { LruFamily } from '../../src/policy/lru.ts';
import type { PolicyFactory } from '../../src/policy/policy.ts';
import { Account } from '../../src/tmem/account.ts';
import { HIT, isRefused } from '../../src/tmem/layer.ts';
import type { Pool } from '../../src/tmem/pool.ts';
import { Tmem } from '../../src/tmem/tmem.ts';
import { writePage } from '../tmem/page-content.ts';
import { COMPOSITIONS } from './compositions.ts';

const PAGE = 4096;
const MIB = 2 ** 20;
const SLICE = 256 * 1024;
const page = Buffer.alloc(PAGE);

function makeStack(name: string, limitBytes: number, forget?: ForgetMemory): Tmem {
  const make = COMPOSITIONS[name];
  if (make === undefined) throw new Error(`no composition ${name}`);
  return new Tmem(make({ limitBytes, pageBytesMax: PAGE, forget }).layers);
}

function fill(pool: Pool, count: number, first = 0): number {
  let refusedCount = 0;
  for (let index = first; index < first + count; index++) {
    if (isRefused(pool.put(0, index, writePage(page, 'half', index)))) refusedCount++;
  }
  return refusedCount;
}

describe.each(['zcache by s3fifo-cw and native lz4', 'hot over zcache'])(
  'the limit of %s',
  (name) => {
    it('evicts nothing when it is lowered, and a few pages for each put from then on', () => {
      const tmem = makeStack(name, 8 * MIB);
      const pool = tmem.createPool({ kind: 'ephemeral' });
      fill(pool, 10_000);
      const full = tmem.usedBytes;
      const firstLimit = tmem.limitBytes;
      tmem.setLimit(2 * MIB);
      expect([tmem.usedBytes, tmem.limitBytes]).toEqual([full, 2 * MIB]);
      let before = full;
      for (let index = 10_000; tmem.usedBytes > tmem.limitBytes; index++) {
        fill(pool, 1, index);
        expect(tmem.usedBytes).toBeLessThanOrEqual(Math.max(before, tmem.limitBytes));
        expect(before - tmem.usedBytes).toBeLessThan(MIB);
        before = tmem.usedBytes;
      }
      // Every page arrives while the memory suffices for it, and the last one is there.
      expect(fill(pool, 500, 50_000)).toBeLessThan(5);
      expect(pool.get(0, 50_499, page)).toBe(HIT);
      tmem.setLimit(firstLimit);
      fill(pool, 10_000, 60_000);
      expect(tmem.usedBytes).toBeGreaterThan(0.9 * full);
    });

    it('has what puts make free on the way down to it given back to the system', () => {
      let forgottenBytes = 0;
      const tmem = makeStack(name, 8 * MIB, (memory) => {
        forgottenBytes += memory.length;
      });
      const pool = tmem.createPool({ kind: 'ephemeral' });
      fill(pool, 10_000);
      const heldBytes = (): number =>
        tmem.layers.reduce((sum, layer) => sum + layer.usage().dataBytes, 0);
      const full = heldBytes();
      expect(forgottenBytes).toBe(0); // at its limit it uses again what it frees
      tmem.setLimit(2 * MIB);
      fill(pool, 5000, 10_000);
      expect(full - heldBytes()).toBeGreaterThan(4 * MIB);
      expect(forgottenBytes).toBeGreaterThanOrEqual(full - heldBytes() - MIB / 2);
    });

    it('keeps every persistent page when it is lowered, and refuses new ones', () => {
      const tmem = makeStack(name, 4 * MIB);
      const pool = tmem.createPool({ kind: 'persistent' });
      fill(pool, 900);
      tmem.setLimit(MIB);
      tmem.shrink(Number.POSITIVE_INFINITY);
      fill(pool, 500, 1000);
      expect(fill(pool, 100, 2000)).toBe(100);
      const copy = Buffer.alloc(PAGE);
      for (let index = 0; index < 900; index++) {
        expect(pool.get(0, index, copy)).toBe(HIT);
        expect(copy.equals(writePage(page, 'half', index))).toBe(true);
      }
    });

    it('is reached by slices that each do little, and the memory goes back to the system', async () => {
      const tmem = makeStack(name, 96 * MIB);
      const pool = tmem.createPool({ kind: 'ephemeral' });
      fill(pool, 110_000);
      tmem.setLimit(24 * MIB);
      const evictedCount = () =>
        tmem.layers.reduce((sum, { statistics }) => sum + statistics.evictedForShrink, 0);
      // The way out for arenas is open when the event loop has turned.
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
      const buffersBefore = process.memoryUsage().arrayBuffers;
      let calls = 0;
      while (tmem.usedBytes > tmem.limitBytes) {
        const copied = vi.spyOn(Buffer.prototype, 'set');
        const before = evictedCount();
        const usedBytes = tmem.usedBytes;
        const freed = tmem.shrink(SLICE);
        expect(Math.max(0, usedBytes - tmem.usedBytes)).toBe(freed);
        expect(evictedCount() - before).toBeLessThan(4000 * tmem.layers.length);
        const largeCopies = copied.mock.calls.filter(([bytes]) => (bytes as Buffer).length > PAGE);
        expect(largeCopies.length).toBeLessThanOrEqual(4 * 2 * tmem.layers.length);
        copied.mockRestore();
        if (++calls > 2000) expect.fail('the limit is never reached');
      }
      for (const layer of tmem.layers) {
        const { dataBytes, limitBytes } = layer.usage();
        expect(dataBytes).toBeLessThanOrEqual(limitBytes);
      }
      expect(buffersBefore - process.memoryUsage().arrayBuffers).toBeGreaterThan(60 * MIB);
    });
  },
);

it('tells how much a shrink could give back at most: what persistent pages do not take', () => {
  const tmem = makeStack('hot over zcache', 8 * MIB);
  const kept = tmem.createPool({ kind: 'persistent' });
  const pool = tmem.createPool({ kind: 'ephemeral' });
  expect(tmem.freeableBytes).toBe(0);
  fill(kept, 500);
  const least = tmem.freeableBytes;
  expect(least).toBeLessThan(SLICE);
  fill(pool, 3000);
  const before = tmem.freeableBytes;
  for (let index = 0; index < 200; index++) kept.put(1, index, writePage(page, 'filled', index));
  expect(tmem.freeableBytes).toBe(before); // those take nothing of a slab
  fill(pool, 4000);
  const freeable = tmem.freeableBytes;
  expect(freeable).toBeGreaterThan(8 * MIB);
  const freed = tmem.shrink(Number.POSITIVE_INFINITY);
  expect(freed).toBeGreaterThan(0.95 * freeable);
  expect(freed).toBeLessThanOrEqual(freeable + MIB / 8);
  expect(tmem.freeableBytes).toBeLessThan(2 * SLICE);
});

it('is told to the policy, whose queues are shares of it', () => {
  const capacities: number[] = [];
  const policy: PolicyFactory = (options) => {
    const family = new LruFamily(options);
    const lru = family.create();
    lru.setCapacity = (bytes) => capacities.push(bytes);
    family.create = () => lru;
    return family;
  };
  const layer = new Zcache({ limitBytes: 4 * MIB, pageBytesMax: PAGE, policy, codec: loadCodec() });
  const account = new Account({ name: 'tested' });
  layer.createPool({ id: 1, isPersistent: false, pageBytes: PAGE, account });
  layer.setLimit(2 * MIB);
  expect(capacities).toEqual([4 * MIB, 2 * MIB]);
});
