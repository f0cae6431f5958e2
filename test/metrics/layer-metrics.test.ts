import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { loadCodec } from '../../src/layers/codec.ts';
import { Hot } from '../../src/layers/hot.ts';
import { Zcache } from '../../src/layers/zcache.ts';
import { Metrics } from '../../src/metrics/metrics.ts';
import { policyFactoryFor } from '../../src/policy/policies.ts';
import { Tmem } from '../../src/tmem/tmem.ts';
import { samplesOf, scrape, smallStack, sourcesOf, sumOf } from './scraped.ts';

const MIB = 1024 * 1024;

/** A stack whose layers refuse for every reason there is: every third allocation fails. */
function failingStack() {
  let asked = 0;
  const mayAllocate = () => ++asked % 3 !== 0;
  const policy = policyFactoryFor('lru');
  const common = { pageBytesMax: 4096, policy, mayAllocate };
  const zcache = new Zcache({ ...common, limitBytes: 2 * MIB, codec: loadCodec() });
  return new Tmem([new Hot({ ...common, limitBytes: MIB, next: zcache }), zcache]);
}

/** Offers pages of every kind, over and again and while frozen; answers how many offers it made. */
function offerPages(tmem: Tmem): number {
  const pages = [randomBytes(4096), Buffer.alloc(4096, 'tmem'), Buffer.alloc(4096)];
  pages.push(Buffer.concat([randomBytes(1024), Buffer.alloc(3072)]));
  const pool = tmem.createPool({ kind: 'persistent' });
  const large = tmem.createPool({ kind: 'ephemeral', pageBytes: 8192 });
  let offered = 0;
  for (let round = 0; round < 3; round++) {
    if (round === 2) tmem.freeze();
    for (let index = 0; index < 2000; index++, offered++) {
      pool.put(0, index * (round + 1), pages[(index + round) % pages.length]!);
    }
  }
  tmem.thaw();
  large.put(0, 0, Buffer.alloc(8192));
  return offered + 1;
}

test('puts are stored, replaced or refused, and every refusal has one reason', async () => {
  const tmem = failingStack();
  const offered = offerPages(tmem);
  const samples = await scrape(sourcesOf({ layers: tmem.layers }));
  expect(sumOf(samples, 'tmem_puts_total{layer="hot"')).toBe(offered);
  for (const layer of ['hot', 'zcache']) {
    const refused = samples.get(`tmem_puts_total{layer="${layer}",outcome="refused"}`);
    expect(refused).toBeGreaterThan(0);
    expect(sumOf(samples, `tmem_refusals_total{layer="${layer}"`)).toBe(refused);
    for (const reason of ['frozen', 'limit', 'allocation', 'pool']) {
      const series = `tmem_refusals_total{layer="${layer}",reason="${reason}"}`;
      expect(samples.get(series), series).toBeGreaterThan(0);
    }
  }
  expect(samples.get('tmem_puts_total{layer="hot",outcome="replaced"}')).toBeGreaterThan(0);
  // What hot refuses is offered to zcache, and so is what it pushes down: nothing else is.
  const below = sumOf(samples, 'tmem_puts_total{layer="zcache"');
  const refusedAbove = samples.get('tmem_puts_total{layer="hot",outcome="refused"}');
  expect(below).toBeGreaterThanOrEqual(Number(refusedAbove));
});

test('pages and memory are those the layers hold now', async () => {
  const tmem = smallStack();
  const pool = tmem.createPool({ kind: 'ephemeral' });
  for (let i = 0; i < 4000; i++) {
    const page = Buffer.alloc(4096, i % 4 === 0 ? '' : `page ${i} `);
    pool.put(0, i, i % 4 === 1 ? randomBytes(4096) : page);
  }
  const samples = await scrape(sourcesOf({ layers: tmem.layers }));
  for (const { name, usage } of tmem.layers.map((each) => ({
    name: each.name,
    usage: each.usage(),
  }))) {
    expect(samples.get(`tmem_pages{layer="${name}",kind="raw"}`)).toBe(usage.rawPages);
    expect(samples.get(`tmem_pages{layer="${name}",kind="compressed"}`)).toBe(
      usage.compressedPages,
    );
    expect(samples.get(`tmem_pages{layer="${name}",kind="filled"}`)).toBe(usage.filledPages);
  }
  for (const kind of ['raw', 'compressed', 'filled']) {
    expect(samples.get(`tmem_pages{layer="zcache",kind="${kind}"}`)).toBeGreaterThan(0);
  }
  for (const kind of ['data', 'metadata']) {
    const total = samples.get(`tmem_memory_bytes{kind="${kind}"}`);
    expect(total).toBeGreaterThan(0);
    const hot = samples.get(`tmem_layer_memory_bytes{layer="hot",kind="${kind}"}`);
    expect(samples.get(`tmem_layer_memory_bytes{layer="zcache",kind="${kind}"}`)).toBe(
      Number(total) - Number(hot),
    );
  }
  expect(samples.get('tmem_memory_bytes{kind="buffers"}')).toBe(3 * MIB);
  expect(samples.get('tmem_memory_limit_bytes')).toBe(64 * MIB);
  const original = Number(samples.get('tmem_original_bytes_total'));
  expect(original % 4096).toBe(0);
  expect(samples.get('tmem_compressed_bytes_total')).toBeLessThan(original);
  expect(sumOf(samples, 'tmem_evictions_total{layer="hot"')).toBeGreaterThan(0);
});

test('a second scrape shows totals, not what was added to the first', async () => {
  const tmem = smallStack();
  const pool = tmem.createPool({ kind: 'ephemeral' });
  const metrics = new Metrics(sourcesOf({ layers: tmem.layers }));
  const page = Buffer.alloc(4096);
  pool.get(0, 0, page);
  const [first, atOnce] = await Promise.all([metrics.scrape(), metrics.scrape()]);
  expect(atOnce).toBe(first);
  pool.get(0, 1, page);
  const samples = samplesOf(await metrics.scrape());
  expect(samplesOf(first).get('tmem_gets_total{layer="hot",outcome="miss"}')).toBe(1);
  expect(samples.get('tmem_gets_total{layer="hot",outcome="miss"}')).toBe(2);
  expect(samples.get('tmem_gets_total{layer="hot",outcome="hit"}')).toBe(0);
});
