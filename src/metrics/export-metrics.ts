/** Metrics of the exports: what the cache answered, what was read ahead, what went to the image. */

import { counter, gauge, type MetricDefinition } from './definition.ts';

/** A counter that every export keeps for each operation on its image. */
function perOperation(
  name: `${string}_total`,
  help: string,
  field: 'requests' | 'bytes' | 'failures',
): MetricDefinition {
  return counter(name, help, ['export', 'op'], ({ exports }, set) => {
    for (const each of exports) {
      for (const [op, counters] of Object.entries(each.image.counters)) {
        // A sync has no length: a series that is 0 for ever would only puzzle.
        if (field === 'bytes' && op === 'sync') continue;
        set(counters[field], { export: each.name, op });
      }
    }
  });
}

export const EXPORT_METRICS: readonly MetricDefinition[] = [
  gauge(
    'tmem_export_info',
    'One per export: its mode, and the pool that its pages are cached in.',
    ['export', 'mode', 'pool'],
    ({ exports }, set) => {
      for (const each of exports) {
        const { name, mode } = each;
        set(1, { export: name, mode, pool: String(each.cache.pool.id) });
      }
    },
  ),
  gauge('tmem_export_size_bytes', 'The virtual size.', ['export'], ({ exports }, set) => {
    for (const each of exports) set(each.sizeBytes, { export: each.name });
  }),
  counter(
    'tmem_export_reads_total',
    'Looks into the cache for a read, at most 256 KiB each, by whether all of it was there.',
    ['export', 'outcome'],
    ({ exports }, set) => {
      for (const { name, reads } of exports) {
        const { statistics } = reads;
        set(statistics.readHits, { export: name, outcome: 'hit' });
        set(statistics.readMisses, { export: name, outcome: 'miss' });
      }
    },
  ),
  counter(
    'tmem_cleancache_gets_total',
    'Pages asked of the stack as a whole, by the pool they are cached in; see tmem_export_info.',
    ['pool', 'outcome'],
    ({ exports, bases }, set) => {
      // Exports of one image share its cache, which must be counted once.
      for (const cache of new Set([...exports, ...bases()].map((each) => each.cache))) {
        const pool = String(cache.pool.id);
        set(cache.hits, { pool, outcome: 'hit' });
        set(cache.misses, { pool, outcome: 'miss' });
      }
    },
  ),
  counter(
    'tmem_joined_pages_total',
    'Pages that a reader got from the read of another, which was under way.',
    ['export'],
    ({ exports }, set) => {
      for (const { name, reads } of exports) set(reads.statistics.joinedPages, { export: name });
    },
  ),
  counter(
    'tmem_prefetched_pages_total',
    'Pages read ahead of a sequential reader, or because a client asked with a CACHE request.',
    ['export'],
    ({ exports }, set) => {
      for (const { name, reads } of exports) set(reads.statistics.aheadPages, { export: name });
    },
  ),
  counter(
    'tmem_readahead_pages_total',
    'Pages that were read ahead: those their reader came to (used) or never came to (wasted).',
    ['export', 'outcome'],
    ({ exports }, set) => {
      for (const { name, reads } of exports) {
        const { readAhead } = reads;
        set(readAhead.usedPages, { export: name, outcome: 'used' });
        set(readAhead.wastedPages, { export: name, outcome: 'wasted' });
      }
    },
  ),
  perOperation(
    'tmem_backing_requests_total',
    'Requests to the image behind an export, failed ones too.',
    'requests',
  ),
  perOperation(
    'tmem_backing_bytes_total',
    'Bytes asked of the image behind an export, by failed requests too.',
    'bytes',
  ),
  perOperation(
    'tmem_backing_failures_total',
    'Requests that the image behind an export failed.',
    'failures',
  ),
];
