import { describe, expect, test } from 'vitest';
import { TmemError } from '../../src/lib/errors.ts';
import { exactSize, formatSize, parseSize, statedSize } from '../../src/lib/sizes.ts';
import { fc } from '../tools/seed.ts';

describe('parseSize', () => {
  test.each([
    ['4096', 4096],
    ['0', 0],
    ['512B', 512],
    ['64KiB', 65_536],
    ['64k', 65_536],
    ['256MiB', 268_435_456],
    ['256M', 268_435_456],
    ['1.5GiB', 1_610_612_736],
    ['1g', 1_073_741_824],
    ['2TiB', 2_199_023_255_552],
  ])('reads %s as %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test('rounds a fraction down to whole bytes', () => {
    expect(parseSize('0.3KiB')).toBe(307);
  });

  test.each([
    ['', /not a size/],
    ['-1', /not a size/],
    ['1 GiB', /not a size/],
    ['1e9', /no known suffix|not a size/],
    ['0x10', /not a size/],
    ['GiB', /not a size/],
    ['1.5', /not a whole number of bytes/],
    ['256MB', /ambiguous; write 256MiB/],
    ['10XiB', /no known suffix/],
    ['99999TiB', /too large/],
    ['9'.repeat(300), /not a size/],
  ])('refuses %j with advice', (text, message) => {
    expect(() => parseSize(text)).toThrow(message);
    expect(() => parseSize(text)).toThrow(TmemError);
  });
});

describe('exactSize', () => {
  test('is read back as the same number', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.integer({ min: 0, max: 40 }), (bytes, shift) => {
        const rounded = Math.floor(bytes / 2 ** shift) * 2 ** shift;
        expect(parseSize(exactSize(rounded))).toBe(rounded);
      }),
    );
  });

  test('uses the largest unit that divides', () => {
    expect([1, 1536, 1024, 1_610_612_736, 0].map(exactSize)).toEqual([
      '1',
      '1536',
      '1KiB',
      '1536MiB',
      '0',
    ]);
  });
});

test('statedSize never leaves the unit out', () => {
  expect([10, 5000, 65_536, 77_393_086].map(statedSize)).toEqual([
    '10 bytes',
    '5000 bytes (4.88KiB)',
    '64KiB',
    '77393086 bytes (73.81MiB)',
  ]);
});

describe('formatSize', () => {
  test.each([
    [0, '0B'],
    [1023, '1023B'],
    [1024, '1KiB'],
    [1_610_612_736, '1.5GiB'],
    [1_567_890_123, '1.46GiB'],
    [1024 ** 2 - 1, '1MiB'],
    [3 * 1024 ** 5, '3072TiB'],
  ])('writes %d as %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });
});
