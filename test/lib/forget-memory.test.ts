import { expect, it } from 'vitest';
import { bindForgetMemory } from '../../src/lib/forget-memory.ts';

const PAGE = 4096;

it('memory that is forgotten reads as zeros, but for the pages that are only a part of it', async () => {
  const forget = await bindForgetMemory();
  const all = new Uint8Array(64 * 1024 * 1024).fill(7);
  const before = process.memoryUsage.rss();
  forget?.(all.subarray(100, all.length - 100));
  expect(before - process.memoryUsage.rss()).toBeGreaterThan(all.length / 2);
  expect([all[99], all[all.length - 99]]).toEqual([7, 7]);
  const inside = all.subarray(100 + PAGE, all.length - 100 - PAGE);
  expect(inside.every((byte) => byte === 0)).toBe(true);
});

it('memory without a whole page stays as it is', async () => {
  const forget = await bindForgetMemory();
  const all = new Uint8Array(PAGE).fill(7);
  forget?.(all.subarray(0, PAGE - 1));
  forget?.(all.subarray(0, 0));
  expect(all.every((byte) => byte === 7)).toBe(true);
});
