/**
 * In-process measurements of the stack: what a hit costs and allocates, what a page costs in
 * metadata, how dense the slabs are, and whether a get stays cheap with ten million pages.
 *
 *   npm run bench:micro -- --image FILE [--smoke]
 */

import { closeSync, mkdirSync, openSync, readSync, statSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { measure } from 'mitata';
import { createTmem } from '../src/index.ts';
import { isRefused, MISS } from '../src/tmem/layer.ts';
import type { Pool } from '../src/tmem/pool.ts';
import type { Tmem } from '../src/tmem/tmem.ts';

const PAGE = 4096;
const MIB = 1024 * 1024;
const PAGES_PER_OBJECT = 16_384;

interface Result {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly note?: string;
}

const results: Result[] = [];

function report(what: string, value: number, unit: string, note = ''): void {
  results.push({ what, value, unit, note });
  const shown = value >= 100 ? value.toFixed(0) : value.toPrecision(3);
  console.log(`${what.padEnd(58)} ${shown.padStart(9)} ${unit.padEnd(8)} ${note}`);
}

/** Pages of a real image, in order. */
function* pagesOf(path: string, countMax: number): Generator<Buffer> {
  const file = openSync(path, 'r');
  const chunk = Buffer.alloc(MIB);
  const size = Math.min(statSync(path).size, countMax * PAGE);
  for (let at = 0; at < size; at += chunk.length) {
    const length = readSync(file, chunk, 0, Math.min(chunk.length, size - at), at);
    for (let page = 0; page + PAGE <= length; page += PAGE) yield chunk.subarray(page, page + PAGE);
  }
  closeSync(file);
}

function fill(pool: Pool, path: string, countMax: number): number {
  let page = 0;
  for (const content of pagesOf(path, countMax)) {
    if (isRefused(pool.put(Math.floor(page / PAGES_PER_OBJECT), page % PAGES_PER_OBJECT, content)))
      break;
    page++;
  }
  return page;
}

/** A cheap generator whose state is one integer, so that measuring it allocates nothing. */
class Random {
  #state = 12345;

  below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return this.#state % limit;
  }
}

/** Nanoseconds and heap bytes of one random get that hits, over `count` pages. */
async function measureGet(pool: Pool, count: number): Promise<{ ns: number; heapBytes: number }> {
  const dst = Buffer.alloc(PAGE);
  const random = new Random();
  let misses = 0;
  const get = (): void => {
    const page = random.below(count);
    if (pool.get(Math.floor(page / PAGES_PER_OBJECT), page % PAGES_PER_OBJECT, dst) === MISS)
      misses++;
  };
  const stats = await measure(get, { min_cpu_time: 1e9 });
  const rounds = 200_000;
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < rounds; i++) get();
  const heapBytes = (process.memoryUsage().heapUsed - before) / rounds;
  if (misses > 0) throw new Error(`${misses} gets missed; the pages do not fit`);
  return { ns: stats.avg, heapBytes };
}

function usage(tmem: Tmem): { data: number; stored: number; metadata: number; pages: number } {
  const sum = { data: 0, stored: 0, metadata: 0, pages: 0 };
  for (const layer of tmem.layers) {
    const each = layer.usage();
    sum.data += each.dataBytes;
    sum.stored += each.storedBytes;
    sum.metadata += each.metadataBytes;
    sum.pages += each.rawPages + each.compressedPages + each.filledPages;
  }
  return sum;
}

async function hits(image: string, pages: number): Promise<void> {
  for (const [where, hotFraction] of [
    ['zcache (LZ4)', 0],
    ['hot', 0.97],
  ] as const) {
    const tmem = createTmem({
      memoryBytes: pages * PAGE * 1.2 + 16 * MIB,
      hotFraction,
      pageBytesMax: PAGE,
    });
    const pool = tmem.createPool({ kind: 'ephemeral' });
    const count = fill(pool, image, pages);
    const { ns, heapBytes } = await measureGet(pool, count);
    report(`get that hits in ${where}, ${count} pages`, ns, 'ns');
    report(`  heap bytes allocated by it`, Math.max(0, heapBytes), 'bytes', '(about 0: below 1)');
  }
}

async function puts(image: string, pages: number): Promise<void> {
  const contents = [...pagesOf(image, Math.min(pages, 4096))].map((page) => Buffer.from(page));
  const tmem = createTmem({ memoryBytes: 64 * MIB, hotFraction: 0, pageBytesMax: PAGE });
  const pool = tmem.createPool({ kind: 'ephemeral' });
  const random = new Random();
  const stats = await measure(() => {
    const page = random.below(contents.length);
    pool.put(0, page, contents[page] ?? Buffer.alloc(PAGE));
  });
  report('put into zcache', stats.avg, 'ns');
}

/** Fills zcache to several times what it holds, so that eviction and compaction have settled. */
function density(image: string, memoryBytes: number): void {
  const tmem = createTmem({ memoryBytes, hotFraction: 0, pageBytesMax: PAGE });
  const pool = tmem.createPool({ kind: 'ephemeral' });
  let page = 0;
  for (let round = 0; round < 3; round++) {
    for (const content of pagesOf(image, Number.POSITIVE_INFINITY)) {
      pool.put(Math.floor(page / PAGES_PER_OBJECT), page % PAGES_PER_OBJECT, content);
      page++;
    }
  }
  const { data, stored, metadata, pages } = usage(tmem);
  const size = `${memoryBytes / MIB} MiB, ${pages} pages`;
  report('metadata of a cached page', metadata / pages, 'bytes', `${size}; at most 48`);
  report(
    'compressed bytes / (slab + metadata bytes)',
    stored / (data + metadata),
    '',
    `${size}; at least 0.93`,
  );
  report('page bytes held / memory', (pages * PAGE) / (data + metadata), 'x', size);
}

/** Ten million small pages against ten thousand: is a get still cheap? */
async function scale(many: number): Promise<void> {
  const costs: number[] = [];
  for (const count of [10_000, many]) {
    const tmem = createTmem({
      memoryBytes: count * 512 + 64 * MIB,
      hotFraction: 0,
      pageBytesMax: PAGE,
    });
    const pool = tmem.createPool({ kind: 'persistent' });
    const content = Buffer.alloc(PAGE, 'ten million pages ');
    for (let page = 0; page < count; page++) {
      content.writeUInt32LE(page, 0);
      const outcome = pool.put(
        Math.floor(page / PAGES_PER_OBJECT),
        page % PAGES_PER_OBJECT,
        content,
      );
      if (isRefused(outcome)) throw new Error(`page ${page} was refused: ${outcome}`);
    }
    const { ns } = await measureGet(pool, count);
    costs.push(ns);
    report(`get among ${count} pages`, ns, 'ns');
  }
  report('  ratio', (costs[1] ?? 0) / (costs[0] ?? 1), 'x', 'at most 2');
}

const { values } = parseArgs({
  options: { image: { type: 'string' }, smoke: { type: 'boolean', default: false } },
});
const image = values.image ?? process.execPath;
const isSmoke = values.smoke;
const cpu = cpus()[0]?.model ?? 'unknown CPU';
console.log(`node ${process.version}, ${cpu}, pages of ${image}\n`);
await hits(image, isSmoke ? 2000 : 60_000);
await puts(image, isSmoke ? 500 : 4096);
density(image, isSmoke ? 8 * MIB : 64 * MIB);
if (!isSmoke) density(image, 256 * MIB);
await scale(isSmoke ? 20_000 : 10_000_000);
mkdirSync('bench/results', { recursive: true });
writeFileSync(
  'bench/results/micro.json',
  `${JSON.stringify({ node: process.version, cpu, image, results }, null, 2)}\n`,
);
