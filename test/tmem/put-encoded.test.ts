import { describe, expect, it } from 'vitest';
import { Cleancache } from '../../src/tmem/cleancache.ts';
import {
  createEncodedPage,
  type EncodedPage,
  FILLED,
  HIT_ZERO,
  LZ4,
  MISS,
  RAW,
  REPLACED,
  STORED,
} from '../../src/tmem/layer.ts';
import { Tmem } from '../../src/tmem/tmem.ts';
import { COMPOSITIONS } from '../layers/compositions.ts';
import { PAGE_KINDS, pageOf } from './page-content.ts';

const PAGE = 4096;
const dst = Buffer.alloc(PAGE);

function makeCache(name = 'hot over zcache'): Cleancache {
  const make = COMPOSITIONS[name];
  if (make === undefined) throw new Error(`no composition ${name}`);
  return new Cleancache(new Tmem(make({ limitBytes: 2 ** 21, pageBytesMax: PAGE }).layers), PAGE);
}

/** The page, encoded, in the middle of a buffer of its own. */
function encodedOf(from: Cleancache, index: number): EncodedPage {
  const page = createEncodedPage();
  if (!from.pool.peek(0, index, page)) throw new Error(`page ${index} is not there`);
  const { encoding, buffer, offset, length } = page;
  const bytes = Buffer.alloc(length + 20);
  buffer.copy(bytes, 10, offset, offset + length);
  return { encoding, buffer: bytes, offset: 10, length };
}

describe('a page that is put encoded', () => {
  it('reads as the page that was peeked, in every stack', () => {
    for (const name of ['hot over zcache', 'zcache by lru and lz4-napi', 'zcache over zcache']) {
      const source = makeCache('zcache by lru and lz4-napi');
      const target = makeCache(name);
      for (const [i, kind] of PAGE_KINDS.entries()) {
        source.put(i, pageOf(PAGE, kind, i), 0);
        expect(target.putEncoded(i, encodedOf(source, i)), kind).toBe(STORED);
        expect(target.get(i, dst, 0), kind).not.toBe(MISS);
        expect(dst.equals(pageOf(PAGE, kind, i)), kind).toBe(true);
      }
      expect(target.get(0, dst, 0)).toBe(HIT_ZERO);
    }
  });

  it('replaces an older one', () => {
    const source = makeCache('zcache by lru and lz4-napi');
    source.put(0, pageOf(PAGE, 'half', 2), 0);
    const target = makeCache();
    target.put(0, pageOf(PAGE, 'random', 1), 0);
    expect(target.putEncoded(0, encodedOf(source, 0))).toBe(REPLACED);
    target.get(0, dst, 0);
    expect(dst.equals(pageOf(PAGE, 'half', 2))).toBe(true);
  });

  it('is refused when it cannot be a page', () => {
    const cache = makeCache();
    const buffer = Buffer.alloc(2 * PAGE);
    const wrong: EncodedPage[] = [
      { encoding: RAW, buffer, offset: 0, length: PAGE - 1 },
      { encoding: RAW, buffer, offset: 0, length: 2 * PAGE },
      { encoding: RAW, buffer, offset: PAGE + 1, length: PAGE },
      { encoding: LZ4, buffer, offset: 0, length: 0 },
      { encoding: LZ4, buffer, offset: 0, length: PAGE + 1 },
      { encoding: LZ4, buffer, offset: -1, length: 10 },
      { encoding: LZ4, buffer, offset: 0.5, length: 10 },
      { encoding: FILLED, buffer, offset: 0, length: 5 },
      { encoding: 7 as typeof RAW, buffer, offset: 0, length: 4 },
      { encoding: RAW, buffer: new Uint8Array(PAGE) as Buffer, offset: 0, length: PAGE },
    ];
    for (const page of wrong) {
      expect(() => cache.putEncoded(0, page)).toThrow(expect.objectContaining({ kind: 'usage' }));
    }
    expect(cache.has(0)).toBe(false);
  });
});
