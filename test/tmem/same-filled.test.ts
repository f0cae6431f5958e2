import { expect, it } from 'vitest';
import { isSameFilled } from '../../src/tmem/same-filled.ts';
import { fc } from '../tools/seed.ts';

const isFilled = (words: Int32Array): boolean =>
  isSameFilled(Buffer.from(words.buffer), 0, words.byteLength);

const wordCount = fc.constantFrom(1024, 2048, 16384);

it('a page of one repeated word is same-filled, and not with any one word changed', () => {
  const change = fc.record({ wordCount, word: fc.integer(), at: fc.nat(), by: fc.integer() });
  fc.assert(
    fc.property(change, ({ wordCount: count, word, at, by }) => {
      const words = new Int32Array(count).fill(word);
      expect(isFilled(words)).toBe(true);
      const place = at % count;
      words[place] = word ^ by;
      expect(isFilled(words)).toBe(words[place] === words[(place + 1) % count]);
    }),
  );
});

it('a page of zeros but for its last bit is not same-filled', () => {
  const words = new Int32Array(1024);
  words[1023] = 1 << 31;
  expect(isFilled(words)).toBe(false);
});
