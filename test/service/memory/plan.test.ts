import { expect, test } from 'vitest';
import { DIRTY_PAGE_METADATA_BYTES } from '../../../src/export/pages/dirty-pages.ts';
import { parseSize } from '../../../src/lib/sizes.ts';
import { WRITER_BYTES } from '../../../src/nbd/transmission/reply-writer.ts';
import { type MemoryNeeds, planMemory } from '../../../src/service/memory/plan.ts';
import { fc } from '../../tools/seed.ts';

const MIB = 1024 * 1024;
const NEEDS: MemoryNeeds = {
  maxConnections: 100,
  pageBytes: 4096,
  writeBackCount: 0,
  dirtyLimitBytes: 64 * MIB,
  dirtyObjectBytes: 0,
  swapBytes: [],
  hasAdmin: false,
  takenBytes: 0,
};

test('the parts of a plan never come to more than the memory', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 32, max: 65_536 }),
      fc.integer({ min: 1, max: 200 }),
      fc.nat({ max: 3 }),
      fc.array(fc.integer({ min: 1, max: 1 << 20 }), { maxLength: 2 }),
      fc.boolean(),
      (memory, maxConnections, writeBackCount, swaps, hasAdmin) => {
        const memoryBytes = memory * MIB;
        const swapBytes = swaps.map((each) => each * MIB);
        const needs = {
          ...NEEDS,
          maxConnections,
          writeBackCount,
          swapBytes,
          hasAdmin,
        };
        const plan = planMemory(memoryBytes, () => ({
          ...needs,
          dirtyLimitBytes: memoryBytes / 4,
        }));
        const writers = writeBackCount + swapBytes.length;
        let dirtyPages = plan.dirtyPages * writeBackCount;
        for (const count of plan.swapDirtyPages) dirtyPages += count;
        const parts =
          plan.stackBytes +
          plan.poolBytes +
          plan.connectionCount * WRITER_BYTES +
          plan.writerBytes * writers +
          plan.bodyBytes +
          dirtyPages * DIRTY_PAGE_METADATA_BYTES;
        expect(parts).toBeLessThanOrEqual(memoryBytes);
        expect(plan.stackBytes).toBeGreaterThanOrEqual(8 * MIB);
        expect(plan.connectionCount).toBeGreaterThanOrEqual(1);
      },
    ),
  );
});

test('what is not asked for takes nothing', () => {
  const plan = planMemory(256 * MIB, () => NEEDS);
  expect([plan.writerBytes, plan.bodyBytes, plan.swapDirtyPages]).toEqual([0, 0, []]);
});

test('memory that leaves no stack is refused with an amount that leaves one', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 20, max: 4096 }),
      fc.double({ min: 0, max: 0.8, noNaN: true }),
      (fixed, share) => {
        const needsOf = (memoryBytes: number) => ({
          ...NEEDS,
          writeBackCount: 1,
          takenBytes: fixed * MIB + share * memoryBytes,
        });
        const refusal = refusalOf(() => planMemory(32 * MIB, needsOf));
        const [, enough = ''] =
          /^memory is 32MiB, too little for these exports; give (\w+),/.exec(refusal) ?? [];
        expect(planMemory(parseSize(enough), needsOf).stackBytes).toBeGreaterThanOrEqual(8 * MIB);
      },
    ),
  );
});

test('the amount in a refusal is no more than a MiB too much', () => {
  const needsOf = () => ({ ...NEEDS, takenBytes: 20.5 * MIB });
  expect(() => planMemory(32 * MIB, needsOf)).toThrow(/these exports; give 37MiB, or have fewer/);
  expect(planMemory(37 * MIB, needsOf).stackBytes).toBeLessThan(9 * MIB);
});

function refusalOf(act: () => unknown): string {
  try {
    act();
  } catch (cause) {
    return String((cause as Error).message);
  }
  return '';
}
