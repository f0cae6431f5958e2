import { describe, expect, it } from 'vitest';
import { loadCodec, type PageCodec } from '../../src/layers/codec.ts';
import { pageCountsFor, Zcache } from '../../src/layers/zcache.ts';
import { policyFactoryFor } from '../../src/policy/policies.ts';
import { Account } from '../../src/tmem/account.ts';
import {
  createEncodedPage,
  FILLED,
  HIT,
  HIT_ZERO,
  isRefused,
  LZ4,
  MISS,
  RAW,
  STORED,
} from '../../src/tmem/layer.ts';
import { type PageKind, pageOf } from '../tmem/page-content.ts';

const PAGE = 4096;
const account = new Account({ name: 'tested' });
const POOL = 1;
const dst = Buffer.alloc(PAGE);

function makeZcache(codec: PageCodec = loadCodec(), limitBytes = 2 ** 20, next?: Zcache): Zcache {
  const policy = policyFactoryFor('s3fifo-cw');
  const layer = new Zcache({
    limitBytes,
    pageBytesMax: PAGE,
    codec,
    policy,
    ...(next && { next }),
  });
  layer.createPool({ id: POOL, isPersistent: false, pageBytes: PAGE, account });
  return layer;
}

const put = (layer: Zcache, index: number, kind: PageKind, version = index) =>
  layer.put(POOL, 0, index, RAW, pageOf(PAGE, kind, version), 0, PAGE);
const get = (layer: Zcache, index: number) => layer.get(POOL, 0, index, dst, 0);

/** A codec that damages the stored block before it decodes it, once. */
class DamagingCodec implements PageCodec {
  readonly name = 'damaging';
  damage: ((block: Buffer) => void) | undefined;
  encodedCount = 0;
  readonly #codec: PageCodec;

  constructor(codec: PageCodec) {
    this.#codec = codec;
  }

  encode(page: Buffer, target: Buffer, limitBytes: number): number {
    this.encodedCount++;
    return this.#codec.encode(page, target, limitBytes);
  }

  decode(src: Buffer, start: number, end: number, page: Buffer): boolean {
    this.damage?.(src.subarray(start, end));
    this.damage = undefined;
    return this.#codec.decode(src, start, end, page);
  }
}

describe('zcache', () => {
  it.each([2 ** 20, 2 ** 30, 600 * 2 ** 30, 8 * 2 ** 40])(
    'has tables that can be, for %d bytes',
    (limit) => {
      const { slotCount, filledCountMax } = pageCountsFor(limit);
      expect(3 * slotCount).toBeLessThan(2 ** 32);
      expect(slotCount).toBeGreaterThanOrEqual(Math.min(limit / 512, 2 ** 30));
      expect(filledCountMax).toBeLessThan(slotCount / 2);
    },
  );

  it('holds a page in the shortest way there is', () => {
    const layer = makeZcache();
    for (const [i, kind] of (['zero', 'filled', 'tiny', 'half', 'random'] as const).entries()) {
      expect(put(layer, i, kind)).toBe(STORED);
    }
    const { filledPages, compressedPages, rawPages, storedBytes } = layer.usage();
    expect([filledPages, compressedPages, rawPages]).toEqual([2, 2, 1]);
    expect(storedBytes).toBe(layer.statistics.compressedBytes);
    expect(storedBytes).toBeGreaterThan(PAGE * 1.5);
    expect(storedBytes).toBeLessThan(PAGE * 1.7);
    expect(layer.statistics.originalBytes).toBe(3 * PAGE);
    expect([0, 1, 2].map((index) => get(layer, index))).toEqual([HIT_ZERO, HIT, HIT]);
  });

  for (const choice of ['lz4', 'lz4-napi'] as const) {
    it(`answers a miss for a page whose bytes do not decode, and counts it, by ${choice}`, () => {
      const codec = new DamagingCodec(loadCodec(choice));
      const layer = makeZcache(codec);
      const page = pageOf(PAGE, 'tiny', 1);
      const outcomes = new Set<number>();
      put(layer, 0, 'tiny', 1);
      const blockBytes = layer.usage().storedBytes;
      let corruptCount = 0;
      for (let at = 0; at < blockBytes; at++) {
        for (const change of [0x01, 0x80, 0xff]) {
          put(layer, 0, 'tiny', 1);
          codec.damage = (block) => {
            block[at] = (block[at] ?? 0) ^ change;
          };
          dst.fill(0xa5);
          const outcome = get(layer, 0);
          outcomes.add(outcome);
          if (outcome === MISS) {
            corruptCount++;
            expect(dst.equals(Buffer.alloc(PAGE, 0xa5))).toBe(true);
            expect(layer.has(POOL, 0, 0)).toBe(false);
            expect(get(layer, 0)).toBe(MISS);
          }
          expect(layer.statistics.corrupt).toBe(corruptCount);
        }
      }
      // A changed literal decodes well: only a checksum, which there is none of, would tell.
      expect([...outcomes].sort()).toEqual([MISS, HIT]);
      expect(isRefused(put(layer, 0, 'tiny', 1))).toBe(false);
      expect(get(layer, 0)).toBe(HIT);
      expect(dst.equals(page)).toBe(true);
    });
  }

  it('takes encoded pages as they are, and compresses none of them again', () => {
    const codec = new DamagingCodec(loadCodec());
    const layer = makeZcache(codec);
    const page = pageOf(PAGE, 'half', 3);
    const block = Buffer.alloc(PAGE + 7);
    const length = loadCodec().encode(page, block.subarray(7), PAGE);
    expect(layer.put(POOL, 0, 0, LZ4, block, 7, length)).toBe(STORED);
    expect(layer.put(POOL, 0, 1, FILLED, Buffer.from([9, 1, 2, 3, 4]), 1, 4)).toBe(STORED);
    expect(codec.encodedCount).toBe(0);
    expect(get(layer, 0)).toBe(HIT);
    expect(dst.equals(page)).toBe(true);
    expect(get(layer, 1)).toBe(HIT);
    expect(dst.equals(Buffer.alloc(PAGE, Buffer.from([1, 2, 3, 4])))).toBe(true);
  });

  it('pushes pages down as they are encoded, and no page is lost or encoded twice', () => {
    const codec = new DamagingCodec(loadCodec());
    const next = makeZcache(codec, 2 ** 22);
    next.destroyPool(POOL);
    const layer = makeZcache(codec, 2 ** 19, next);
    const count = 700;
    for (let i = 0; i < count; i++) put(layer, i, i % 3 === 0 ? 'tiny' : 'half');
    expect(codec.encodedCount).toBe(count);
    expect(layer.statistics.pushedDown).toBe(next.statistics.puts[STORED]);
    expect(layer.statistics.pushedDown).toBe(layer.statistics.evictedForCapacity);
    expect(layer.statistics.pushedDown).toBeGreaterThan(count / 2);
    for (let i = 0; i < count; i++) {
      expect(get(layer, i)).toBe(HIT);
      expect(dst.equals(pageOf(PAGE, i % 3 === 0 ? 'tiny' : 'half', i))).toBe(true);
    }
  });

  it('keeps a bounded share of same-filled pages, the newest', () => {
    const layer = makeZcache();
    const count = 5000;
    for (let i = 0; i < count; i++) expect(put(layer, i, 'zero')).toBe(STORED);
    const { filledPages, dataBytes, metadataBytes } = layer.usage();
    expect(filledPages + layer.statistics.evictedForFilledCap).toBe(count);
    expect(dataBytes).toBe(0);
    expect(metadataBytes).toBeLessThan(2 ** 20 / 16);
    for (let i = 0; i < filledPages; i++) expect(get(layer, count - 1 - i)).toBe(HIT_ZERO);
  });

  it('loses no same-filled page to others that are overwritten again and again', () => {
    const layer = makeZcache();
    for (let i = 0; i < 200; i++) put(layer, i, 'zero');
    for (let round = 0; round < 100; round++) {
      for (let i = 200; i < 250; i++) put(layer, i, round % 3 === 0 ? 'tiny' : 'filled', round);
    }
    expect(layer.statistics.evictedForFilledCap).toBe(0);
    for (let i = 0; i < 200; i++) expect(get(layer, i)).toBe(HIT_ZERO);
  });

  it('moves pages to names that need room, and makes it from others', () => {
    const layer = makeZcache();
    layer.createPool({ id: 2, isPersistent: false, pageBytes: PAGE, account });
    const putIn = (object: number, kind: PageKind) =>
      layer.put(POOL, object, 0, RAW, pageOf(PAGE, kind, object), 0, PAGE);
    const encoded = createEncodedPage();
    let object = 0;
    for (; layer.statistics.evictedForCapacity === 0; object++) putIn(object, 'half');
    // Names alone take what room there is left.
    const before = layer.statistics.evictedForCapacity;
    for (; layer.statistics.evictedForCapacity < before + 20; object++) putIn(object, 'zero');
    const evicted = layer.statistics.evictedForCapacity;
    for (let i = 0; i < object; i++) {
      if (!layer.has(POOL, i, 0)) continue;
      layer.peek(POOL, i, 0, encoded);
      const isFilled = encoded.encoding === FILLED;
      expect(layer.transfer(POOL, 2, i, 0)).toBe(true);
      expect([layer.has(POOL, i, 0), layer.has(2, i, 0)]).toEqual([false, true]);
      expect(layer.get(2, i, 0, dst, 0)).toBe(isFilled ? HIT_ZERO : HIT);
      if (!isFilled) expect(dst.equals(pageOf(PAGE, 'half', i))).toBe(true);
    }
    expect(layer.statistics.evictedForCapacity).toBeGreaterThan(evicted);
  });

  it('counts the pages that are flushed, be it by name, by object or with their pool', () => {
    const layer = makeZcache();
    for (let i = 0; i < 3; i++) put(layer, i, 'half');
    layer.put(POOL, 1, 0, RAW, pageOf(PAGE, 'zero', 0), 0, PAGE);
    const { statistics } = layer;
    const counts = [
      () => layer.flushPage(POOL, 0, 0),
      () => layer.flushPage(POOL, 0, 0), // there is none any more
      () => layer.flushObject(POOL, 0),
      () => layer.destroyPool(POOL),
    ].map((flush) => {
      const before = statistics.flushed;
      flush();
      return statistics.flushed - before;
    });
    expect(counts).toEqual([1, 0, 2, 1]);
  });

  it('goes on when the system refuses memory in the middle of a put', () => {
    const layer = makeZcache();
    const original = globalThis.ArrayBuffer;
    globalThis.ArrayBuffer = class {
      constructor() {
        throw new RangeError('Array buffer allocation failed');
      }
    } as unknown as ArrayBufferConstructor;
    try {
      expect(isRefused(put(layer, 0, 'half'))).toBe(true);
    } finally {
      globalThis.ArrayBuffer = original;
    }
    expect(get(layer, 0)).toBe(MISS);
    expect(layer.usage().compressedPages).toBe(0);
    expect(put(layer, 0, 'half')).toBe(STORED);
  });
});
