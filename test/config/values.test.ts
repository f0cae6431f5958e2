import { describe, expect, test } from 'vitest';
import * as values from '../../src/config/values.ts';
import { POLICY_NAMES } from '../../src/policy/policies.ts';
import { fc } from '../tools/seed.ts';

describe('parseFraction', () => {
  test.each([
    ['25%', 0.25],
    ['0', 0],
    ['0%', 0],
    ['0.25', 0.25],
    ['1', 1],
    ['100%', 1],
    ['33.3%', 0.333],
  ])('reads %s as %d', (text, fraction) => {
    expect(values.parseFraction(text)).toBe(fraction);
  });

  test.each(['25', '101%', '-1%', '', '%', '1e-3', '25 %', 'half'])('refuses %j', (text) => {
    expect(() => values.parseFraction(text)).toThrow(/not a share; write a percentage/);
  });

  test('reads back what formatFraction writes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000 }), (millionths) => {
        const fraction = millionths / 1_000_000;
        expect(values.parseFraction(values.formatFraction(fraction))).toBe(fraction);
      }),
    );
  });
});

test('parseCount refuses what is not a whole number in the range', () => {
  expect(values.parseCount('50', 0, 50)).toBe(50);
  for (const text of ['51', '-1', '1.5', '', '0x1', '1e1', '9'.repeat(20)]) {
    expect(() => values.parseCount(text, 0, 50)).toThrow(/whole number from 0 to 50/);
  }
});

test('parseName suggests the name that was meant, or lists them all', () => {
  expect(values.parseName('lru', values.POLICY_NAMES)).toBe('lru');
  expect(() => values.parseName('lur', values.POLICY_NAMES)).toThrow(/did you mean lru\?/);
  expect(() => values.parseName('random', values.POLICY_NAMES)).toThrow(/s3fifo-cw, lru/);
});

test('checkExportName refuses names that NBD cannot carry', () => {
  expect(values.checkExportName('a'.repeat(4096))).toHaveLength(4096);
  expect(() => values.checkExportName('é'.repeat(2049))).toThrow(/choose a shorter/);
  expect(() => values.checkExportName('')).toThrow(/not empty/);
  expect(() => values.checkExportName('a\0b')).toThrow(/NUL/);
});

test('the policies that can be configured are the policies that there are', () => {
  expect([...values.POLICY_NAMES].sort()).toEqual([...POLICY_NAMES].sort());
});
