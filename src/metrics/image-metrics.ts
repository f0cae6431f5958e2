/** Metrics of images and those below them: their tables, what was asked of them, how far copies are. */

import { counter, gauge, type MetricDefinition } from './definition.ts';

export const IMAGE_METRICS: readonly MetricDefinition[] = [
  gauge(
    'tmem_image_info',
    'One per image, those below others too: its format, and the pool of the pages that it holds.',
    ['image', 'format', 'pool'],
    ({ images }, set) => {
      for (const { name, formatName, poolId } of images()) {
        set(1, { image: name, format: formatName, pool: String(poolId) });
      }
    },
  ),
  counter(
    'tmem_image_reads_total',
    'Reads of an image: by an export, or by images that are based on it.',
    ['image'],
    ({ images }, set) => {
      for (const { name, reads } of images()) set(reads, { image: name });
    },
  ),
  counter(
    'tmem_image_table_lookups_total',
    'Looks into the cache of an image’s tables, by outcome.',
    ['image', 'outcome'],
    ({ images }, set) => {
      for (const { name, tables } of images()) {
        if (tables === undefined) continue;
        set(tables.hits, { image: name, outcome: 'hit' });
        set(tables.misses, { image: name, outcome: 'miss' });
      }
    },
  ),
  counter(
    'tmem_image_table_evictions_total',
    'Pieces of tables that left the cache for others.',
    ['image'],
    ({ images }, set) => {
      for (const { name, tables } of images()) {
        if (tables !== undefined) set(tables.evictions, { image: name });
      }
    },
  ),
  gauge('tmem_image_table_bytes', 'Tables in memory.', ['image'], ({ images }, set) => {
    for (const { name, tables } of images()) {
      if (tables !== undefined) set(tables.bytes, { image: name });
    }
  }),
  gauge(
    'tmem_image_table_limit_bytes',
    'What they may come to; what is unwritten may pass it for a moment.',
    ['image'],
    ({ images }, set) => {
      for (const { name, tables } of images()) {
        if (tables !== undefined) set(tables.limitBytes, { image: name });
      }
    },
  ),
  gauge(
    'tmem_base_copy_bytes',
    'Bytes of a disk that its background copy has gone through.',
    ['export'],
    ({ copies }, set) => {
      for (const { exportName, doneBytes } of copies()) set(doneBytes, { export: exportName });
    },
  ),
];
