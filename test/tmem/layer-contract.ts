/** The contract of a layer as a suite: every layer, and every stack of layers, passes it. */

import { beforeEach, describe, expect, it } from 'vitest';
import { loadCodec } from '../../src/layers/codec.ts';
import { Account } from '../../src/tmem/account.ts';
import {
  createEncodedPage,
  createLayerStatistics,
  type EncodedPage,
  FILLED,
  HIT,
  HIT_ZERO,
  isRefused,
  type Layer,
  LZ4,
  MISS,
  type PutOutcome,
  RAW,
  REFUSED_ALLOCATION,
  REFUSED_FROZEN,
  REFUSED_LIMIT,
  REFUSED_METADATA,
  REFUSED_POOL,
  REPLACED,
  STORED,
} from '../../src/tmem/layer.ts';
import { PAGE_KINDS, type PageKind, pageOf } from './page-content.ts';

/** What the suite asks of the layers it is given. */
export interface ContractOptions {
  readonly limitBytes: number;
  readonly pageBytesMax: number;
  readonly mayAllocate: () => boolean;
}

const PAGE = 4096;
const LIMIT_BYTES = 1024 * 1024;
const EPHEMERAL = 1;
const PERSISTENT = 2;
const OTHER = 3;

/** Runs the suite on what `make` answers: layers from the top down, each the next of the one before. */
export function describeLayerContract(
  subject: string,
  make: (options: ContractOptions) => readonly Layer[],
): void {
  describe(`${subject}, as a layer`, () => {
    let layers: readonly Layer[];
    let top: Layer;
    let mayAllocate: boolean;
    let account: Account;

    beforeEach(() => {
      mayAllocate = true;
      layers = make({
        limitBytes: LIMIT_BYTES,
        pageBytesMax: 65536,
        mayAllocate: () => mayAllocate,
      });
      top = layers[0] as Layer;
      account = new Account({ name: 'tested' });
      createPool(EPHEMERAL, false);
      createPool(PERSISTENT, true);
      createPool(OTHER, false);
    });

    const createPool = (id: number, isPersistent: boolean, pageBytes = PAGE): void =>
      top.createPool({ id, isPersistent, pageBytes, account });

    const put = (pool: number, object: number, index: number, page: Buffer): PutOutcome =>
      top.put(pool, object, index, RAW, page, 0, page.length);
    const putKind = (pool: number, index: number, kind: PageKind, version: number): PutOutcome =>
      put(pool, 0, index, pageOf(PAGE, kind, version));
    const setFrozen = (isFrozen: boolean): void => {
      for (const layer of layers) layer.isFrozen = isFrozen;
    };
    const heldBytes = (): number =>
      sum(layers.map((layer) => layer.usage().dataBytes + layer.usage().metadataBytes));

    /** A get that hits must answer `page`, a miss must leave the destination alone; others agree. */
    function read(pool: number, object: number, index: number, page: Buffer): boolean {
      const dst = Buffer.alloc(page.length + 64, 0xa5);
      const copy = Buffer.alloc(page.length + 64, 0xa5);
      const isHeld = top.has(pool, object, index);
      const copied = top.copy(pool, object, index, copy, 32);
      const outcome = top.get(pool, object, index, dst, 32);
      expect([outcome !== MISS, copied]).toEqual([isHeld, outcome]);
      expect(copy.equals(dst)).toBe(true);
      const body = dst.subarray(32, 32 + page.length);
      if (isHeld) expect(body.equals(page)).toBe(true);
      else expect(body.equals(Buffer.alloc(page.length, 0xa5))).toBe(true);
      expect(dst.subarray(0, 32).equals(Buffer.alloc(32, 0xa5))).toBe(true);
      expect(dst.subarray(32 + page.length).equals(Buffer.alloc(32, 0xa5))).toBe(true);
      return isHeld;
    }
    const readKind = (pool: number, index: number, kind: PageKind, version: number): boolean =>
      read(pool, 0, index, pageOf(PAGE, kind, version));

    it('gives back pages of every kind and size as they were put', () => {
      let pool = 10;
      for (let pageBytes = PAGE; pageBytes <= 65536; pageBytes *= 2) {
        createPool(++pool, false, pageBytes);
        for (const [index, kind] of PAGE_KINDS.entries()) {
          const page = pageOf(pageBytes, kind, index);
          expect(put(pool, 7, index, page)).toBe(STORED);
          expect(read(pool, 7, index, page)).toBe(true);
        }
      }
    });

    it('takes a page from inside a buffer and keeps no reference to it', () => {
      const page = pageOf(PAGE, 'half', 1);
      const src = Buffer.concat([Buffer.alloc(100, 1), page, Buffer.alloc(100, 2)]);
      expect(top.put(EPHEMERAL, 0, 0, RAW, src, 100, PAGE)).toBe(STORED);
      src.fill(0xee);
      expect(read(EPHEMERAL, 0, 0, page)).toBe(true);
    });

    it('copies a page without any use of it', () => {
      for (const [index, kind] of PAGE_KINDS.entries()) putKind(EPHEMERAL, index, kind, 1);
      const before = JSON.stringify(layers.map(({ statistics }) => statistics));
      const dst = Buffer.alloc(PAGE);
      for (const [index, kind] of PAGE_KINDS.entries()) {
        expect(top.copy(EPHEMERAL, 0, index, dst, 0)).not.toBe(MISS);
        expect(dst.equals(pageOf(PAGE, kind, 1))).toBe(true);
      }
      expect(top.copy(EPHEMERAL, 1, 0, dst, 0)).toBe(MISS);
      expect(JSON.stringify(layers.map(({ statistics }) => statistics))).toBe(before);
    });

    it('names pages by pool, object and index up to the ends of their ranges', () => {
      const names = [0, 1, 2 ** 31, 2 ** 32 - 1].flatMap((index) =>
        [0, 1, 2 ** 32, Number.MAX_SAFE_INTEGER].map((object) => ({ object, index })),
      );
      for (const [i, { object, index }] of names.entries()) {
        expect(put(EPHEMERAL, object, index, pageOf(PAGE, 'tiny', i))).toBe(STORED);
      }
      for (const [i, { object, index }] of names.entries()) {
        expect(read(EPHEMERAL, object, index, pageOf(PAGE, 'tiny', i))).toBe(true);
        expect(read(PERSISTENT, object, index, pageOf(PAGE, 'tiny', i))).toBe(false);
      }
    });

    it('answers the newer page after a second put, whatever kinds the two are', () => {
      let version = 0;
      for (const older of PAGE_KINDS) {
        for (const newer of PAGE_KINDS) {
          putKind(EPHEMERAL, 0, older, ++version);
          expect(putKind(EPHEMERAL, 0, newer, ++version)).toBe(REPLACED);
          expect(readKind(EPHEMERAL, 0, newer, version)).toBe(true);
        }
      }
    });

    it('has the newer page or none when the second put finds no memory', () => {
      for (const pool of [EPHEMERAL, PERSISTENT]) {
        for (const [index, kind] of PAGE_KINDS.entries()) {
          mayAllocate = true;
          expect(putKind(pool, index, kind, 1)).toBe(STORED);
          mayAllocate = false;
          // Where pages lie as they are, the newer one may take the place of the older.
          const isOverwritten = top.overwrites(pool, 0, index, pageOf(PAGE, kind, 2), 0);
          const outcome = putKind(pool, index, kind, 2);
          expect(outcome).toBe(isOverwritten ? REPLACED : REFUSED_ALLOCATION);
          expect(top.overwrites(pool, 0, 99, pageOf(PAGE, kind, 2), 0)).toBe(false);
          expect(readKind(pool, index, kind, 2)).toBe(outcome === REPLACED);
        }
      }
    });

    it('stays missing after a miss until the next put', () => {
      const miss = () => readKind(EPHEMERAL, 5, 'half', 0);
      expect([miss(), miss()]).toEqual([false, false]);
      putKind(EPHEMERAL, 4, 'half', 0);
      expect(miss()).toBe(false);
    });

    it('refuses only new pages while frozen, and reads and flushes as ever', () => {
      putKind(EPHEMERAL, 0, 'half', 1);
      putKind(EPHEMERAL, 1, 'half', 1);
      setFrozen(true);
      expect(putKind(EPHEMERAL, 2, 'half', 1)).toBe(REFUSED_FROZEN);
      expect(readKind(EPHEMERAL, 2, 'half', 1)).toBe(false);
      expect(readKind(EPHEMERAL, 0, 'half', 1)).toBe(true);
      const second = putKind(EPHEMERAL, 0, 'random', 2);
      expect(readKind(EPHEMERAL, 0, 'random', 2)).toBe(!isRefused(second));
      expect(top.flushPage(EPHEMERAL, 0, 1)).toBe(true);
      expect(readKind(EPHEMERAL, 1, 'half', 1)).toBe(false);
      setFrozen(false);
      expect(putKind(EPHEMERAL, 2, 'half', 2)).toBe(STORED);
    });

    it('refuses pages of pools that it does not know or that are too large for it', () => {
      expect(put(99, 0, 0, pageOf(PAGE, 'half', 1))).toBe(REFUSED_POOL);
      const [small] = make({
        limitBytes: LIMIT_BYTES,
        pageBytesMax: PAGE,
        mayAllocate: () => true,
      });
      small?.createPool({ id: 1, isPersistent: false, pageBytes: 8192, account });
      const page = pageOf(8192, 'half', 1);
      expect(small?.put(1, 0, 0, RAW, page, 0, page.length)).toBe(REFUSED_POOL);
      expect(small?.has(1, 0, 0)).toBe(false);
    });

    it('drops a page, an object or a pool at once, says how much it was, and nothing else', () => {
      for (const object of [1, 2, 3]) {
        for (const [index, kind] of PAGE_KINDS.entries()) {
          put(EPHEMERAL, object, index, pageOf(PAGE, kind, object));
          put(PERSISTENT, object, index, pageOf(PAGE, kind, object));
          readAll(object);
        }
      }
      expect(top.flushPage(EPHEMERAL, 1, 0)).toBe(true);
      expect(top.flushPage(EPHEMERAL, 1, 0)).toBe(false);
      expect(top.flushObject(EPHEMERAL, 2)).toBe(5);
      expect(top.flushObject(EPHEMERAL, 2)).toBe(0);
      const held = [0, 1, 2, 3, 4].map((index) =>
        [1, 2, 3].map((o) => top.has(EPHEMERAL, o, index)),
      );
      expect(held[0]).toEqual([false, false, true]);
      expect(held.slice(1)).toEqual(Array(4).fill([true, false, true]));
      expect(top.destroyPool(EPHEMERAL)).toBe(9);
      expect(top.has(EPHEMERAL, 3, 0)).toBe(false);
      expect(put(EPHEMERAL, 3, 0, pageOf(PAGE, 'half', 4))).toBe(REFUSED_POOL);
      expect(readAll(3, PERSISTENT)).toBe(5);
      expect(top.destroyPool(PERSISTENT)).toBe(15);
      expect(sum(layers.map((layer) => pagesIn(layer)))).toBe(0);
      expect(sum(layers.map((layer) => layer.usage().dataBytes))).toBe(0);
    });

    function readAll(object: number, pool = EPHEMERAL): number {
      const isHit = (kind: PageKind, index: number): boolean =>
        read(pool, object, index, pageOf(PAGE, kind, object));
      return PAGE_KINDS.filter((kind, index) => top.has(pool, object, index) && isHit(kind, index))
        .length;
    }

    it('moves a page to another pool as it is, over an older one, and frees what that took', () => {
      for (const [index, kind] of PAGE_KINDS.entries()) {
        putKind(PERSISTENT, index, kind, 1);
        putKind(EPHEMERAL, index, kind, 2);
        const dst = Buffer.alloc(PAGE);
        for (let i = 0; i < 4; i++) top.get(PERSISTENT, 0, index, dst, 0); // copies may arise
        putKind(PERSISTENT, index, kind, index === 2 ? 1 : 3);
      }
      const encodedBytes = sum(layers.map((layer) => layer.statistics.originalBytes));
      setFrozen(true);
      mayAllocate = false;
      for (const [index, kind] of PAGE_KINDS.entries()) {
        expect(top.transfer(PERSISTENT, EPHEMERAL, 0, index)).toBe(true);
        expect(top.has(PERSISTENT, 0, index)).toBe(false);
        expect(readKind(EPHEMERAL, index, kind, index === 2 ? 1 : 3)).toBe(true);
        expect(top.transfer(PERSISTENT, EPHEMERAL, 0, index)).toBe(false);
      }
      expect(sum(layers.map((layer) => layer.statistics.originalBytes))).toBe(encodedBytes);
      expect(sum(layers.map((layer) => layer.usage().persistentBytes))).toBe(0);
      expect(top.transfer(EPHEMERAL, PERSISTENT, 0, 1)).toBe(true);
      expect(top.destroyPool(EPHEMERAL)).toBe(4);
      expect(readKind(PERSISTENT, 1, PAGE_KINDS[1] as PageKind, 3)).toBe(true);
    });

    it('lets pages that were moved to an ephemeral pool vanish, and keeps those moved back', () => {
      for (let index = 0; index < 60; index++) putKind(PERSISTENT, index, 'half', index);
      for (let index = 0; index < 60; index++) top.transfer(PERSISTENT, EPHEMERAL, 0, index);
      for (let index = 0; index < 30; index++) top.transfer(EPHEMERAL, PERSISTENT, 0, index);
      top.shrink(Number.POSITIVE_INFINITY);
      for (let index = 0; index < 60; index++) {
        expect(readKind(PERSISTENT, index, 'half', index)).toBe(index < 30);
        expect(top.has(EPHEMERAL, 0, index)).toBe(false);
      }
    });

    it('shows where a page lies encoded, and which pages of a pool there are', () => {
      const names = new Map<number, number[]>([
        [3, [0, 7, 2 ** 32 - 1]],
        [Number.MAX_SAFE_INTEGER, [1]],
      ]);
      const page = createEncodedPage();
      let at = 0;
      for (const [object, indexes] of names) {
        for (const index of indexes) {
          const content = pageOf(PAGE, PAGE_KINDS[at++] as PageKind, at);
          put(EPHEMERAL, object, index, content);
          for (let i = 0; i < 3; i++) top.get(EPHEMERAL, object, index, Buffer.alloc(PAGE), 0);
          expect(top.peek(EPHEMERAL, object, index, page)).toBe(true);
          expect(decoded(page).equals(content)).toBe(true);
        }
      }
      expect(top.peek(EPHEMERAL, 3, 1, page)).toBe(false);
      expect(new Set(top.objectsOf(EPHEMERAL))).toEqual(new Set(names.keys()));
      expect([...top.objectsOf(EPHEMERAL)]).toHaveLength(2);
      for (const [object, indexes] of names) {
        expect([...top.indexesOf(EPHEMERAL, object)].sort((a, b) => a - b)).toEqual(indexes);
      }
      expect([...top.objectsOf(PERSISTENT)]).toEqual([]);
      expect(top.indexesOf(EPHEMERAL, 4)).toHaveLength(0);
    });

    it('charges the account for what it holds, and for nothing when all is gone', () => {
      for (let index = 0; index < 2000; index++) {
        putKind(index % 9 === 0 ? PERSISTENT : EPHEMERAL, index, PAGE_KINDS[index % 5]!, index);
        if (index % 3 === 0) top.get(EPHEMERAL, 0, index - 40, Buffer.alloc(PAGE), 0);
        if (index % 4 === 0) top.transfer(PERSISTENT, OTHER, 0, index - 36);
        expect(account.pages).toBe(sum(layers.map(pagesIn)));
        expect(account.usedBytes).toBeGreaterThanOrEqual(
          sum(layers.map((layer) => layer.usage().storedBytes)),
        );
      }
      expect(sum(layers.map((layer) => layer.usage().persistentBytes))).toBeGreaterThan(10_000);
      for (const pool of [EPHEMERAL, PERSISTENT, OTHER]) top.destroyPool(pool);
      expect([account.pages, account.usedBytes]).toEqual([0, 0]);
      expect(sum(layers.map((layer) => layer.usage().persistentBytes))).toBe(0);
    });

    it('never takes more memory than its limit, nor loses what it said to keep', () => {
      const kept: number[] = [];
      const outcomes = new Set<PutOutcome>();
      for (let index = 0; index < 3000; index++) {
        const kind = PAGE_KINDS[index % 5] as PageKind;
        const outcome = putKind(index % 7 === 0 ? PERSISTENT : EPHEMERAL, index, kind, index);
        outcomes.add(outcome);
        if (index % 7 === 0 && !isRefused(outcome)) kept.push(index);
        for (const layer of layers) {
          const { dataBytes, metadataBytes, limitBytes } = layer.usage();
          expect(dataBytes + metadataBytes).toBeLessThanOrEqual(limitBytes);
        }
      }
      for (const index of kept) {
        expect(readKind(PERSISTENT, index, PAGE_KINDS[index % 5] as PageKind, index)).toBe(true);
      }
      for (const reason of outcomes) {
        expect([STORED, REFUSED_LIMIT, REFUSED_METADATA, REFUSED_ALLOCATION]).toContain(reason);
      }
    });

    it('refuses when persistent pages fill it, and then holds neither version of a page', () => {
      let count = 0;
      while (!isRefused(putKind(PERSISTENT, count, 'half', count))) count++;
      expect(count).toBeGreaterThan(100);
      const isAnyCompressed = layers.some((layer) => layer.usage().compressedPages > 0);
      let refusedCount = 0;
      for (let index = 0; index < count; index++) {
        const outcome = putKind(PERSISTENT, index, 'random', count + index);
        if (isRefused(outcome)) refusedCount++;
        const isHeld = readKind(PERSISTENT, index, 'random', count + index);
        expect(isHeld).toBe(!isRefused(outcome));
      }
      // Where pages lie as they are, the new version has the room of the old one.
      expect(refusedCount > 0).toBe(isAnyCompressed);
    });

    it('gives memory of ephemeral pages back when it is asked to, and tells how much', () => {
      for (let index = 0; index < 150; index++) {
        putKind(index % 5 === 0 ? PERSISTENT : EPHEMERAL, index, 'half', index);
      }
      const before = heldBytes();
      const freed = top.shrink(50_000);
      expect(freed).toBeGreaterThanOrEqual(50_000);
      expect(before - heldBytes()).toBe(freed);
      top.shrink(Number.POSITIVE_INFINITY);
      for (let index = 0; index < 150; index++) {
        const isKept = readKind(index % 5 === 0 ? PERSISTENT : EPHEMERAL, index, 'half', index);
        expect(isKept).toBe(index % 5 === 0);
      }
      expect(top.shrink(1)).toBeLessThanOrEqual(0);
    });

    it('counts every get and every put once, by outcome', () => {
      const gets = { hits: 0, misses: 0 };
      const dst = Buffer.alloc(PAGE);
      for (let index = 0; index < 600; index++) {
        putKind(EPHEMERAL, index, PAGE_KINDS[index % 5] as PageKind, index);
        if (index === 300) mayAllocate = false;
        if (index === 320) mayAllocate = true;
        const outcome = top.get(EPHEMERAL, 0, (index * 17) % 700, dst, 0);
        if (outcome === HIT || outcome === HIT_ZERO) gets.hits++;
        else gets.misses++;
      }
      const { statistics } = top;
      expect(statistics.hits + statistics.misses).toBe(gets.hits + gets.misses);
      expect(sum(layers.map((layer) => layer.statistics.hits))).toBe(gets.hits);
      expect(sum([...statistics.puts])).toBe(600);
      expect(statistics.puts[REFUSED_ALLOCATION]).toBeGreaterThanOrEqual(20);
      for (const [i, layer] of layers.entries()) {
        expect(Object.keys(layer.statistics)).toEqual(Object.keys(createLayerStatistics()));
        expect(pagesIn(layer), `layer ${i}`).toBe(expectedPages(layer));
      }
    });
  });
}

/** The page that an encoded one stands for. */
function decoded({ encoding, buffer, offset, length }: EncodedPage): Buffer {
  const bytes = buffer.subarray(offset, offset + length);
  if (encoding === FILLED) return Buffer.alloc(PAGE, bytes);
  const page = Buffer.alloc(PAGE);
  if (encoding !== LZ4) return Buffer.from(bytes);
  expect(loadCodec().decode(buffer, offset, offset + length, page)).toBe(true);
  return page;
}

/** Pages that a layer holds, by its usage. */
export function pagesIn(layer: Layer): number {
  const { rawPages, compressedPages, filledPages } = layer.usage();
  return rawPages + compressedPages + filledPages;
}

/** Pages that a layer must hold by its counters, while nothing was replaced. */
function expectedPages(layer: Layer): number {
  const { puts, promoted, flushed, corrupt } = layer.statistics;
  const { evictedForCapacity, evictedForShrink, evictedForFilledCap } = layer.statistics;
  const arrived = (puts[STORED] ?? 0) + promoted;
  return arrived - flushed - corrupt - evictedForCapacity - evictedForShrink - evictedForFilledCap;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
