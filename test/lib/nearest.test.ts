import { expect, test } from 'vitest';
import { nearest } from '../../src/lib/nearest.ts';

const WORDS = ['memory', 'mode', 'listen', 'hot', 'print-config'];

test.each([
  ['memroy', 'memory'],
  ['memry', 'memory'],
  ['Listen', 'listen'],
  ['hott', 'hot'],
  ['print_config', 'print-config'],
  ['modes', 'mode'],
])('nearest takes %s for %s', (word, meant) => {
  expect(nearest(word, WORDS)).toBe(meant);
});

test.each(['xyz', '', 'a', 'printer', 'm'.repeat(10_000)])(
  'nearest has no suggestion for %j',
  (word) => {
    expect(nearest(word, WORDS)).toBeUndefined();
  },
);
