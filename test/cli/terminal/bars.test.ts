import { expect, test } from 'vitest';
import { bar, fractionOf, stackedBar } from '../../../src/cli/terminal/bars.ts';
import { drawLine, plainPaint } from '../../../src/cli/terminal/line.ts';
import {
  formatCount,
  formatPercent,
  formatRate,
  formatSeconds,
} from '../../../src/lib/quantities.ts';
import { fc } from '../../tools/seed.ts';

const plain = (spans: ReturnType<typeof bar>) =>
  drawLine(spans, Number.POSITIVE_INFINITY, plainPaint);

test.each([
  [0, '░░░░'],
  [0.0001, '▏░░░'],
  [0.25, '█░░░'],
  [0.5 + 3 / 32, '██▍░'],
  [0.9999, '███▉'],
  [1, '████'],
  [7, '████'],
  [-1, '░░░░'],
  [Number.NaN, '░░░░'],
])('a bar of %d is %s', (fraction, text) => {
  expect(plain(bar(fraction, 4, 'good'))).toBe(text);
});

test('a bar is as wide as it is to be, and grows with what it shows', () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true }), fc.nat(60), (fraction, width) => {
      expect(plain(bar(fraction, width, 'good'))).toHaveLength(width);
    }),
  );
});

test('the parts of a stacked bar end where their sum does', () => {
  const parts = (values: number[]) =>
    values.map((value, at) => ({ value, glyph: 'abc'[at] ?? '', tone: 'data' as const }));
  expect(plain(stackedBar(parts([5, 3, 1]), 10, 10))).toBe('aaaaabbbc░');
  expect(plain(stackedBar(parts([0.4, 0.4, 0.4]), 10, 10))).toBe('b░░░░░░░░░');
  expect(plain(stackedBar(parts([20, 1, 1]), 10, 4))).toBe('aaaa');
  expect(plain(stackedBar(parts([1, 1, 1]), 0, 4))).toBe('░░░░');
});

test('a fraction is between nothing and all, also of nothing', () => {
  expect([fractionOf(1, 4), fractionOf(5, 4), fractionOf(1, 0)]).toEqual([0.25, 1, 0]);
});

test('a percentage is 0 or 100 only if it is', () => {
  const shown = [0, 0.00001, 0.9314, 0.99999, 1].map(formatPercent);
  expect(shown).toEqual(['0.0 %', '0.1 %', '93.1 %', '99.9 %', '100.0 %']);
});

test('counts and rates are told in as many digits as can be read', () => {
  expect([0, 999, 1_234_567].map(formatCount)).toEqual(['0', '999', '1,234,567']);
  expect([0, 0.04, 2.55, 99.96, 12_345.6].map(formatRate)).toEqual([
    ...['0/s', '0/s', '2.6/s', '100/s', '12,346/s'],
  ]);
});

test('a time is told in its two largest units', () => {
  expect([0, 2.34, 59.6, 125, 11_520, 270_000].map(formatSeconds)).toEqual([
    ...['0 s', '2.3 s', '1 min 0 s', '2 min 5 s', '3 h 12 min', '3 d 3 h'],
  ]);
});
