import { expect, test } from 'vitest';
import { Export } from '../../src/export/export.ts';
import { rawImage } from '../../src/image/raw.ts';
import { BufferPool } from '../../src/lib/buffer-pool.ts';
import { Cleancache } from '../../src/tmem/cleancache.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';
import { quietExport, scrape, smallStack, sourcesOf, sumOf } from './scraped.ts';

const MIB = 1024 * 1024;
const PAGE = 4096;

/** Exports over a stack, all of one cache, each with an image of its own in memory. */
function exportsNamed(...names: string[]) {
  const tmem = smallStack();
  const buffers = new BufferPool(4 * MIB, PAGE);
  const cache = new Cleancache(tmem, PAGE);
  const exports = names.map((name) => {
    const image = rawImage(new MemoryStorage(Buffer.alloc(MIB)), name);
    return new Export({ name, image, cache, buffers, mode: 'writethrough' });
  });
  return { exports, buffers, layers: tmem.layers };
}

test('what goes to the image is told by export and operation', async () => {
  const { exports, buffers, layers } = exportsNamed('a', 'b');
  const [a] = exports;
  const piece = buffers.take(2 * PAGE)!;
  expect(a?.reads.readCached(0, 2 * PAGE, piece.buffer, piece.dataOffset)).toBe(2);
  await a?.reads.fetch(0, [0, 1], piece);
  expect(a?.reads.readCached(0, 2 * PAGE, piece.buffer, piece.dataOffset)).toBe(0);
  await a?.write(PAGE, PAGE, piece);
  await expect(a?.write(MIB, PAGE, piece)).rejects.toThrow();
  await a?.sync();
  const samples = await scrape(sourcesOf({ exports, layers }));
  const of = (what: string, op: string, name = 'a') =>
    samples.get(`tmem_backing_${what}_total{export="${name}",op="${op}"}`);
  expect([of('requests', 'read'), of('bytes', 'read')]).toEqual([1, 2 * PAGE]);
  expect([of('requests', 'sync'), of('bytes', 'sync')]).toEqual([1, undefined]);
  expect(of('bytes', 'write')).toBe(PAGE);
  expect(of('requests', 'write', 'b')).toBe(0);
  expect(samples.get('tmem_export_reads_total{export="a",outcome="hit"}')).toBe(1);
  expect(samples.get('tmem_export_reads_total{export="a",outcome="miss"}')).toBe(1);
});

test('a failure of the image is counted for its operation', async () => {
  const failing = quietExport('disk');
  Object.assign(failing.image.counters.write ?? {}, { requests: 5, bytes: 50, failures: 2 });
  const samples = await scrape(sourcesOf({ exports: [failing] }));
  expect(samples.get('tmem_backing_failures_total{export="disk",op="write"}')).toBe(2);
  expect(samples.get('tmem_backing_failures_total{export="disk",op="read"}')).toBe(0);
});

test('a cache that exports share is counted once', async () => {
  const { exports, layers } = exportsNamed('a', 'b');
  for (const each of exports) each.reads.readCached(0, PAGE, Buffer.alloc(PAGE), 0);
  const samples = await scrape(sourcesOf({ exports, layers }));
  expect(samples.get('tmem_cleancache_gets_total{pool="1",outcome="miss"}')).toBe(2);
  expect(sumOf(samples, 'tmem_cleancache_gets_total')).toBe(2);
  expect(sumOf(samples, 'tmem_export_info')).toBe(2);
});

test('read-ahead is told by what became of it', async () => {
  const ahead = {
    ...quietExport('disk'),
    reads: {
      readAhead: { usedPages: 7, wastedPages: 3 },
      statistics: { readHits: 0, readMisses: 0, joinedPages: 4, aheadPages: 12 },
    },
  };
  const samples = await scrape(sourcesOf({ exports: [ahead] }));
  expect(samples.get('tmem_readahead_pages_total{export="disk",outcome="used"}')).toBe(7);
  expect(samples.get('tmem_readahead_pages_total{export="disk",outcome="wasted"}')).toBe(3);
  expect(samples.get('tmem_joined_pages_total{export="disk"}')).toBe(4);
  expect(samples.get('tmem_prefetched_pages_total{export="disk"}')).toBe(12);
});

test('a name with quotes, backslashes and line ends stays one label', async () => {
  const samples = await scrape(sourcesOf({ exports: [quietExport('a"b\\c\nd,op:read')] }));
  expect(samples.get('tmem_export_size_bytes{export="a\\"b\\\\c\\nd,op:read"}')).toBe(MIB);
});
