import { expect, it, vi } from 'vitest';
import { loadCodec } from '../../src/layers/codec.ts';
import { Hot } from '../../src/layers/hot.ts';
import { Zcache } from '../../src/layers/zcache.ts';
import { POLICIES, POLICY_NAMES } from '../../src/policy/policies.ts';
import { Cleancache } from '../../src/tmem/cleancache.ts';
import { MISS } from '../../src/tmem/layer.ts';
import { Tmem } from '../../src/tmem/tmem.ts';
import { stream } from '../policy/golden-synthetic.ts';
import { PAGE_KINDS, writePage } from '../tmem/page-content.ts';

const PAGE = 4096;
const MIB = 1024 * 1024;
const KINDS = PAGE_KINDS.length;

it.each(POLICY_NAMES)('a stack by %s keeps its limit, and its pages what they are', (name) => {
  const common = { pageBytesMax: PAGE, policy: POLICIES[name] };
  const zcache = new Zcache({ ...common, limitBytes: 6 * MIB, codec: loadCodec() });
  const hot = new Hot({ ...common, limitBytes: 3 * MIB, next: zcache });
  const tmem = new Tmem([hot, zcache]);
  // Two of them, so that shares and accounts are at work as well.
  const caches = [new Cleancache(tmem, PAGE), new Cleancache(tmem, PAGE)];
  const [page, expected] = [Buffer.alloc(PAGE), Buffer.alloc(PAGE)];
  for (const [i, key] of stream('skewed-scan').subarray(0, 36_000).entries()) {
    const cache = caches[key % 2];
    writePage(expected, PAGE_KINDS[key % KINDS] ?? 'zero', key);
    if (cache?.get(key, page, 0) === MISS) cache.put(key, expected, 0);
    else if (!page.equals(expected)) expect.fail(`request ${i} got another page`);
    if (i % 1000 === 0) cache?.flush(key, 1);
    if (i % 5000 === 0) tmem.shrink(MIB / 4);
    if (tmem.usedBytes > 9 * MIB) expect.fail(`request ${i} exceeds the limit`);
  }
  const hits = caches.reduce((sum, cache) => sum + cache.hits, 0);
  expect(hits).toBeGreaterThan(10_000);
  expect(zcache.statistics.evictedForCapacity).toBeGreaterThan(1000);
  for (const cache of caches) cache.pool.destroy();
  expect(zcache.usage()).toMatchObject({ rawPages: 0, compressedPages: 0, filledPages: 0 });
});

/** The system has no memory left, but for the few bytes that are taken from the heap. */
function refuseMemory(): void {
  for (const array of [Uint8Array, Int32Array, Uint32Array]) {
    const construct = (target: typeof array, [length]: [number]) => {
      if (length * array.BYTES_PER_ELEMENT <= 64) return new target(length);
      throw new RangeError('Array buffer allocation failed');
    };
    vi.stubGlobal(array.name, new Proxy(array, { construct }));
  }
}

it.each(POLICY_NAMES)('a stack by %s goes on when the system refuses memory', (name) => {
  const zcache = new Zcache({
    ...{ limitBytes: 2 * MIB, pageBytesMax: PAGE },
    ...{ policy: POLICIES[name], codec: loadCodec() },
  });
  const cache = new Cleancache(new Tmem([zcache]), PAGE);
  const [page, expected] = [Buffer.alloc(PAGE), Buffer.alloc(PAGE)];
  const read = (keys: Iterable<number>) => {
    for (const key of keys) {
      writePage(expected, 'half', key);
      if (cache.get(key, page, 0) === MISS) cache.put(key, expected, 0);
      else if (!page.equals(expected)) expect.fail(`key ${key} has another page`);
    }
  };
  const keys = stream('skewed-scan').subarray(0, 9000);
  const isFull = () => zcache.statistics.evictedForCapacity > 0;
  const first = keys.findIndex((key) => {
    read([key]);
    return isFull();
  });
  expect(first).toBeGreaterThan(0);
  refuseMemory();
  try {
    read(keys.subarray(first, 6000));
  } finally {
    vi.unstubAllGlobals();
  }
  read(keys.subarray(6000));
  expect(cache.hits).toBeGreaterThan(1000);
  cache.pool.destroy();
  expect(zcache.usage()).toMatchObject({ compressedPages: 0, dataBytes: 0, storedBytes: 0 });
});
