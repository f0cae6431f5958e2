import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { FullSwaps } from '../../../src/service/warnings/full-swaps.ts';
import { MIB } from '../../tools/workspace.ts';

const SECOND_MS = 1000;

let refusedCount: number;
let heldBytes: number;
let warnings: string[];
let swaps: FullSwaps;

beforeEach(() => {
  vi.useFakeTimers();
  [refusedCount, heldBytes, warnings] = [0, 0, []];
  const device = {
    ...{ name: 's', sizeBytes: 256 * MIB },
    refusedCount: () => refusedCount,
    heldBytes: () => heldBytes,
  };
  swaps = new FullSwaps([device], {
    info: () => undefined,
    warn: (line) => void warnings.push(line),
  });
  swaps.start();
  onTestFinished(() => {
    swaps.stop();
    vi.useRealTimers();
  });
});

/** A write is refused, and that is looked at. */
function refuse(): void {
  refusedCount++;
  vi.advanceTimersByTime(SECOND_MS);
}

test('a swap device that refuses a write is told to be full once, with what to do', () => {
  heldBytes = 60 * MIB;
  vi.advanceTimersByTime(10 * SECOND_MS);
  expect(warnings).toEqual([]);
  refuse();
  refuse();
  expect(warnings).toEqual([
    expect.stringMatching(/^swap device "s" is full with 60MiB of its 256MiB: .*tmem ctl/),
  ]);
});

test.each([
  ['had room for a minute', 50, 60, 2],
  ['had room for less than a minute', 50, 59, 1],
  ['was left alone, as by a guest that is paused', 60, 3600, 1],
  ['lost a few pages', 59, 3600, 1],
  ['was given more memory', 61, 60, 2],
])('a swap device is told of again when it %s', (_, held, seconds, count) => {
  heldBytes = 60 * MIB;
  refuse();
  heldBytes = held * MIB;
  vi.advanceTimersByTime(seconds * SECOND_MS);
  heldBytes = 60 * MIB;
  refuse();
  expect(warnings).toHaveLength(count);
});

test('a swap device that became full right before the end is told of', () => {
  refusedCount++;
  swaps.stop();
  expect(warnings).toHaveLength(1);
});
