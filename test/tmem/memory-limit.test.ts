import { describe, expect, it } from 'vitest';
import { loadCodec } from '../../src/layers/codec.ts';
import { Hot } from '../../src/layers/hot.ts';
import { Zcache } from '../../src/layers/zcache.ts';
import { POLICY_NAMES, policyFactoryFor } from '../../src/policy/policies.ts';
import { Account } from '../../src/tmem/account.ts';
import { isRefused, RAW, STORED } from '../../src/tmem/layer.ts';
import { pagesIn } from './layer-contract.ts';
import { type PageKind, pageOf, writePage } from './page-content.ts';

const PAGE = 4096;
const account = new Account({ name: 'tested' });
const MIB = 2 ** 20;
const PAGES_PER_OBJECT = 16_384;

/** Pages that compress as those of programs and libraries do: ratio 1.8, some not at all. */
class Filler {
  readonly layer: Zcache;
  refusedCount = 0;
  #count = 0;
  #random = 0x2545f491;
  readonly #page = Buffer.alloc(PAGE);
  readonly #noise = pageOf(65536, 'random', 1);

  constructor(limitBytes: number, policyName = 's3fifo-cw') {
    const policy = policyFactoryFor(policyName);
    this.layer = new Zcache({ limitBytes, pageBytesMax: PAGE, codec: loadCodec('lz4'), policy });
    this.layer.createPool({ id: 1, isPersistent: false, pageBytes: PAGE, account });
  }

  next(): number {
    this.#random ^= this.#random << 13;
    this.#random ^= this.#random >>> 17;
    this.#random ^= this.#random << 5;
    return (this.#random >>> 0) / 2 ** 32;
  }

  /** Puts a page under a name that is new, or was `ago` pages before. */
  put(page: Buffer, ago = 0): void {
    const number = Math.max(0, this.#count - ago);
    if (ago === 0) this.#count++;
    const object = Math.floor(number / PAGES_PER_OBJECT);
    const index = number % PAGES_PER_OBJECT;
    if (isRefused(this.layer.put(1, object, index, RAW, page, 0, PAGE))) this.refusedCount++;
    const { dataBytes, metadataBytes, limitBytes } = this.layer.usage();
    if (dataBytes + metadataBytes > limitBytes) expect.fail(`${limitBytes} bytes are exceeded`);
  }

  /** A third tiny to half, the rest up to a page and a little more, which is incompressible. */
  realistic(): Buffer {
    const share = this.next() < 0.35 ? this.next() * 0.4 : 0.4 + this.next() * 0.62;
    const noisy = Math.min(PAGE, Math.floor(share * PAGE));
    const from = Math.floor(this.next() * (this.#noise.length - PAGE));
    this.#page.fill(`page ${this.#count} `);
    this.#noise.copy(this.#page, 0, from, from + noisy);
    return this.#page;
  }

  /** Stored bytes over what they take, slabs and metadata together. */
  get density(): number {
    const { storedBytes, dataBytes, metadataBytes } = this.layer.usage();
    return storedBytes / (dataBytes + metadataBytes);
  }

  get metadataPerPage(): number {
    return this.layer.usage().metadataBytes / pagesIn(this.layer);
  }
}

describe('the memory of a full zcache', () => {
  it('is never more than its limit, and nearly all of it is pages', () => {
    const filler = new Filler(96 * MIB);
    const total = 3 * ((96 * MIB) / 2200);
    for (let i = 0; i < total / 3; i++) filler.put(filler.realistic());
    while (filler.layer.statistics.evictedForCapacity === 0) filler.put(filler.realistic());
    const whenFull = filler.density;
    const puts = filler.layer.statistics.puts.reduce((sum, each) => sum + each, 0);
    for (let i = puts; i < total; i++) {
      filler.put(filler.realistic(), i % 4 === 0 ? Math.ceil(filler.next() * 30_000) : 0);
    }
    expect(filler.layer.statistics.evictedForCapacity).toBeGreaterThan(total / 3);
    expect(whenFull).toBeGreaterThanOrEqual(0.93);
    expect(filler.density).toBeGreaterThanOrEqual(0.93);
    expect(filler.refusedCount).toBeLessThan(total / 500);
  });

  it('has at most 48 bytes of metadata for a page of 2 KiB, also after much has left', () => {
    const filler = new Filler(32 * MIB);
    const page = Buffer.alloc(PAGE);
    for (let version = 0; version < 45_000; version++) {
      filler.put(writePage(page, 'half', version));
    }
    expect(filler.layer.statistics.evictedForCapacity).toBeGreaterThan(20_000);
    expect(filler.layer.usage().compressedPages).toBeGreaterThan(13_000);
    expect(filler.metadataPerPage).toBeLessThanOrEqual(48);
  });

  it('is never more than its limit when every page is an object of its own', () => {
    const filler = new Filler(4 * MIB);
    const page = Buffer.alloc(PAGE);
    for (let object = 0; object < 20_000; object++) {
      const kind = object % 3 === 0 ? 'zero' : object % 3 === 1 ? 'tiny' : 'half';
      filler.layer.put(1, object, 0, RAW, writePage(page, kind, object), 0, PAGE);
      const { dataBytes, metadataBytes, limitBytes } = filler.layer.usage();
      if (dataBytes + metadataBytes > limitBytes) expect.fail(`${limitBytes} bytes are exceeded`);
    }
    expect(filler.layer.usage().metadataBytes).toBeGreaterThan((2 * MIB) / 2);
  });

  it('is never more than its limit when pages begin to leave, and to be remembered', () => {
    const limitBytes = 64 * MIB;
    const policy = policyFactoryFor('s3fifo-cw');
    const options = { pageBytesMax: PAGE, codec: loadCodec('lz4'), policy };
    const next = new Zcache({ ...options, limitBytes: MIB });
    const hot = new Hot({ ...options, limitBytes, next });
    hot.createPool({ id: 1, isPersistent: false, pageBytes: PAGE, account });
    const page = pageOf(PAGE, 'tiny', 0);
    for (let i = 0; hot.statistics.evictedForCapacity < 100; i++) {
      page.writeInt32LE(i, 0);
      expect(hot.put(1, 0, i, RAW, page, 0, PAGE)).toBe(STORED);
      const { dataBytes, metadataBytes } = hot.usage();
      if (dataBytes + metadataBytes > limitBytes) expect.fail(`${limitBytes} bytes are exceeded`);
    }
    expect(hot.usage().dataBytes).toBeGreaterThan(0.98 * limitBytes);
  });

  it.each(POLICY_NAMES)('keeps its limit when pages of %s follow ones that stay', (name) => {
    const filler = new Filler(4 * MIB, name);
    filler.layer.createPool({ id: 2, isPersistent: true, pageBytes: PAGE, account });
    const page = Buffer.alloc(PAGE);
    let count = 0;
    const keep = () => filler.layer.put(2, 0, count, RAW, writePage(page, 'half', count), 0, PAGE);
    while (!isRefused(keep())) count++;
    for (let i = 1; i <= 10; i++) filler.layer.flushPage(2, 0, count - i);
    filler.put(writePage(page, 'half', 0));
    expect([count > 1500, filler.refusedCount]).toEqual([true, 0]);
    expect(keep()).toBe(STORED);
  });

  it('is never more than its limit when same-filled pages that stayed may leave', () => {
    const filler = new Filler(16 * MIB);
    const { layer } = filler;
    layer.createPool({ id: 2, isPersistent: true, pageBytes: PAGE, account });
    const page = Buffer.alloc(PAGE);
    const keep = (kind: PageKind, object: number, i: number) =>
      layer.put(2, object, i, RAW, writePage(page, kind, i), 0, PAGE);
    for (let i = 0; i < 17_000; i++) expect(keep('filled', 0, i)).toBe(STORED);
    for (let i = 0; !isRefused(keep('half', 1, i)); ) i++;
    for (let i = 0; i < 17_000; i++) {
      const isMoved = layer.transfer(2, 1, 0, i);
      if (!isMoved) expect(layer.flushPage(2, 0, i)).toBe(true);
      const { dataBytes, metadataBytes, limitBytes } = layer.usage();
      if (dataBytes + metadataBytes > limitBytes) expect.fail(`${limitBytes} bytes are exceeded`);
      expect(layer.has(1, 0, i)).toBe(isMoved);
    }
    expect(layer.usage().filledPages).toBeGreaterThan(1000);
  });

  it('goes over to pages of another size and back, and fills up with them each time', () => {
    const filler = new Filler(32 * MIB);
    const page = Buffer.alloc(PAGE);
    for (let i = 0; i < 30_000; i++) filler.put(filler.realistic());
    for (let i = 0; i < 20_000; i++) filler.put(writePage(page, 'random', i));
    expect(filler.layer.usage().rawPages).toBeGreaterThan(7500);
    expect(filler.density).toBeGreaterThan(0.95);
    for (let i = 0; i < 60_000; i++) filler.put(filler.realistic());
    expect(filler.layer.usage().compressedPages).toBeGreaterThan(11_000);
    expect(filler.density).toBeGreaterThan(0.9);
    expect(filler.refusedCount).toBeLessThan(200);
  });
});
