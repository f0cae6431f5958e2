import { expect, test } from 'vitest';
import { capacitiesOf, parseMemoryList } from '../../../src/replay/report/memory-sizes.ts';

const UNITS = { unit: 'bytes', pageBytes: 4096, footprintPages: 1000 } as const;

test('sizes are bytes, pages and shares of the footprint, in order and each once', () => {
  const pagesOf = (text: string) => capacitiesOf(parseMemoryList(text), UNITS);
  expect(pagesOf('1MiB,1000p,10%')).toEqual([100, 256, 1000]);
  expect(pagesOf('50%, 500p ,2000KiB')).toEqual([500]);
  expect(pagesOf('0.001%')).toEqual([1]);
  expect(pagesOf('150%')).toEqual([1500]);
});

test.each([
  ['', /"" is not a size/],
  ['10', /holds no page of 4096 bytes/],
  ['10%,,5%', /"" is not a size/],
  ['0p', /holds nothing/],
  ['0%', /out of range/],
  ['1001%', /out of range/],
  ['10MB', /ambiguous.*or give pages, as 1000p/],
  ['-5p', /not a size/],
  [Array.from({ length: 65 }, () => '1p').join(), /give 64 at most/],
])('the list "%.20s" is refused in one sentence', (text, message) => {
  expect(() => capacitiesOf(parseMemoryList(text), UNITS)).toThrow(message);
});

test('bytes mean nothing to a trace of keys', () => {
  const units = { ...UNITS, unit: 'keys', pageBytes: 1 } as const;
  expect(capacitiesOf(parseMemoryList('10%,7p'), units)).toEqual([7, 100]);
  expect(() => capacitiesOf(parseMemoryList('1MiB'), units)).toThrow(/objects without a size/);
});
