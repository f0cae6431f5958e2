import { describe, expect, it } from 'vitest';
import { isRefused, MISS } from '../../src/tmem/layer.ts';
import type { Pool } from '../../src/tmem/pool.ts';
import { Tmem } from '../../src/tmem/tmem.ts';
import { COMPOSITIONS } from '../layers/compositions.ts';
import { type PageKind, writePage } from './page-content.ts';

const MIB = 2 ** 20;
const CAP = MIB / 2;
/** More same-filled pages than are within the cap, and fewer than the stack may have. */
const FILLED = 14_000;
const page = Buffer.alloc(4096);

function makeStack(composition: string) {
  const make = COMPOSITIONS[composition];
  if (make === undefined) throw new Error(`no composition ${composition}`);
  const tmem = new Tmem(make({ limitBytes: 16 * MIB, pageBytesMax: 4096 }).layers);
  const account = tmem.createAccount({ name: 'capped', capBytes: CAP });
  const capped = tmem.createPool({ kind: 'ephemeral', account });
  return { capped, other: tmem.createPool({ kind: 'ephemeral' }), tmem };
}

/** Puts pages of that kind in an object of its own; answers how many were refused. */
function fill(pool: Pool, object: number, kind: PageKind, count: number): number {
  let refusedCount = 0;
  for (let index = 0; index < count; index++) {
    if (isRefused(pool.put(object, index, writePage(page, kind, index)))) refusedCount++;
  }
  return refusedCount;
}

function heldCount(pool: Pool, object: number, count: number): number {
  let held = 0;
  for (let index = 0; index < count; index++) if (pool.has(object, index)) held++;
  return held;
}

describe.each(['zcache by s3fifo-cw and native lz4', 'hot over zcache'])(
  'same-filled pages of an account at its cap, in %s',
  (composition) => {
    it('make room for other pages, and those of other accounts stay', () => {
      const { capped, other, tmem } = makeStack(composition);
      fill(other, 0, 'zero', 200);
      fill(capped, 0, 'zero', FILLED);
      expect(capped.account.usedBytes).toBeGreaterThan(0.99 * CAP);
      expect(fill(capped, 1, 'half', 100)).toBe(0);
      expect(heldCount(capped, 1, 100)).toBe(100);
      expect(capped.get(1, 99, page)).not.toBe(MISS);
      expect(page.equals(writePage(Buffer.alloc(4096), 'half', 99))).toBe(true);
      expect(capped.account.usedBytes).toBeLessThanOrEqual(CAP);
      expect(heldCount(other, 0, 200)).toBe(200);
      other.account.setShare({ capBytes: 0 }); // they were passed by, and have their turn still
      while (tmem.trimToCaps(64) > 0);
      expect(heldCount(other, 0, 200)).toBe(0);
    });

    it('leave for newer ones of their kind before other pages do', () => {
      const { capped } = makeStack(composition);
      fill(capped, 0, 'half', 1000);
      const before = heldCount(capped, 0, 1000);
      fill(capped, 1, 'zero', FILLED);
      expect(heldCount(capped, 0, 1000)).toBeGreaterThan(0.9 * before);
      expect(capped.has(1, FILLED - 1)).toBe(true);
      expect(heldCount(capped, 1, FILLED) * 44).toBeLessThan(0.06 * CAP);
    });

    it('leave when the cap is lowered below what they take', () => {
      const { capped, other, tmem } = makeStack(composition);
      fill(capped, 0, 'zero', FILLED);
      fill(other, 0, 'zero', 200);
      capped.account.setShare({ capBytes: CAP / 4 });
      while (tmem.trimToCaps(64) > 0);
      expect(capped.account.usedBytes).toBeLessThanOrEqual(CAP / 4);
      expect(capped.account.usedBytes).toBeGreaterThan(CAP / 4 - 100);
      expect(heldCount(other, 0, 200)).toBe(200);
    });

    it('are those that were moved to it, and no more those that were moved away', () => {
      const { capped, other, tmem } = makeStack(composition);
      fill(other, 0, 'zero', 1000);
      for (let index = 0; index < 1000; index++) other.transferTo(capped, 0, index);
      capped.account.setShare({ capBytes: 0 });
      other.account.setShare({ capBytes: 0 });
      while (tmem.trimToCaps(64) > 0);
      expect([capped, other].map(({ account }) => account.usedBytes)).toEqual([0, 0]);
      other.account.setShare({ capBytes: CAP });
      expect(fill(other, 0, 'zero', 1000)).toBe(0);
    });

    it('are those that were handed over as clean, and no more those that are to be written', () => {
      const { capped, tmem } = makeStack(composition);
      const dirty = tmem.createPool({ kind: 'persistent', account: capped.account });
      fill(dirty, 0, 'zero', 1000);
      fill(capped, 1, 'zero', 1000);
      for (let index = 0; index < 1000; index++) {
        dirty.transferTo(capped, 0, index);
        capped.transferTo(dirty, 1, index);
      }
      capped.account.setShare({ capBytes: 0 });
      while (tmem.trimToCaps(64) > 0);
      expect([heldCount(capped, 0, 1000), heldCount(dirty, 1, 1000)]).toEqual([0, 1000]);
    });
  },
);
