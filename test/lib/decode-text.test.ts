import { expect, it } from 'vitest';
import { decodeText } from '../../src/lib/decode-text.ts';

/** Every byte of a row of sixteen. */
const row = (first: number) => Buffer.from(Array.from({ length: 16 }, (_, i) => first + i));

it('windows-1252 under each of its names has dashes, quotation marks and the euro', () => {
  for (const label of ['windows-1252', 'Windows-1252', 'iso-8859-1', 'latin1', 'ascii']) {
    expect(decodeText(row(0x80), label)).toBe('€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f');
    expect(decodeText(row(0x90), label)).toBe('\x90‘’“”•–—˜™š›œ\x9džŸ');
    expect(decodeText(row(0x60), label)).toBe('`abcdefghijklmno');
    expect(decodeText(row(0xf0), label)).toBe('ðñòóôõö÷øùúûüýþÿ');
  }
});

it('the same bytes in other encodings are other text', () => {
  expect(decodeText(row(0x80), 'windows-1251')).toBe('ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏ');
  expect(decodeText(row(0x80), 'iso-8859-2')).toBe(row(0x80).toString('latin1'));
  expect(decodeText(Buffer.from('–\x80'), 'UTF-8')).toBe('–\x80');
});

it('what is no text in its encoding, and an unknown encoding, throw', () => {
  expect(() => decodeText(row(0x80), 'utf-8')).toThrow();
  expect(() => decodeText(row(0x60), 'EBCDIC')).toThrow();
});
