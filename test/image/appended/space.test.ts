import { describe, expect, it } from 'vitest';
import { AppendSpace } from '../../../src/image/appended/space.ts';

const UNIT = 4096;

/** Four units side by side at the end of a file. */
function taken() {
  const space = new AppendSpace(UNIT, 10 * UNIT);
  const runs = Array.from({ length: 4 }, () => space.take(UNIT));
  const give = (index: number) => {
    const run = runs[index];
    if (run === undefined) throw new Error(`there is no run ${index}`);
    space.giveBack(run);
  };
  return { space, give };
}

describe('space at the end of a file that was given back', () => {
  it.each([[[0, 1, 2]], [[2, 1, 0]], [[0, 2, 1]], [[1, 2, 0]]])(
    'is one with what lies beside it, in the order %j',
    (order) => {
      const { space, give } = taken();
      for (const index of order) give(index);
      expect(space.unnamed).toContainEqual({ offset: 10 * UNIT, length: 3 * UNIT });
      expect(space.take(3 * UNIT)).toEqual({ offset: 10 * UNIT, length: 3 * UNIT });
      expect(space.end).toBe(14 * UNIT);
    },
  );

  it('moves the end when there is nothing behind it', () => {
    const { space, give } = taken();
    for (const index of [1, 0, 3]) give(index);
    expect(space.end).toBe(13 * UNIT);
    give(2);
    expect(space.end).toBe(10 * UNIT);
    expect(space.unnamed).toEqual([]);
  });
});
