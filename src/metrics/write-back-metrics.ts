/** Metrics of writing back: what images do not have yet, and how it gets there. */

import { counter, gauge, type MetricDefinition } from './definition.ts';
import type { MetricsSources, WriteBackSource } from './sources.ts';

/** Each export that is written back, by its name. */
function eachOf(
  { exports }: MetricsSources,
  visit: (writeBack: WriteBackSource, name: string, pageBytes: number) => void,
): void {
  for (const { name, writeBack, pageBytes } of exports) {
    if (writeBack !== undefined) visit(writeBack, name, pageBytes);
  }
}

function perExport(
  name: `${string}_total`,
  help: string,
  read: (writeBack: WriteBackSource) => number,
): MetricDefinition {
  return counter(name, help, ['export'], (sources, set) => {
    eachOf(sources, (writeBack, each) => set(read(writeBack), { export: each }));
  });
}

export const WRITE_BACK_METRICS: readonly MetricDefinition[] = [
  gauge(
    'tmem_dirty_bytes',
    'Bytes of pages that were acknowledged and that the image does not have yet.',
    ['export'],
    (sources, set) => {
      eachOf(sources, ({ tier }, name, pageBytes) => {
        set(tier.table.count * pageBytes, { export: name });
      });
    },
  ),
  gauge(
    'tmem_dirty_limit_bytes',
    'What they may come to now: what was configured, or less when memory was seen to refuse.',
    ['export'],
    (sources, set) => {
      eachOf(sources, ({ limitPages }, name, pageBytes) => {
        set(limitPages * pageBytes, { export: name });
      });
    },
  ),
  gauge(
    'tmem_writeback_failing_pages',
    'Dirty pages that the image refused; they are tried again.',
    ['export'],
    (sources, set) => {
      eachOf(sources, ({ tier }, name) => set(tier.table.troubledCount, { export: name }));
    },
  ),
  gauge(
    'tmem_writeback_lost_pages',
    'Acknowledged pages that did not survive in memory; reads and FLUSHes answer an error.',
    ['export'],
    (sources, set) => {
      eachOf(sources, ({ tier }, name) => set(tier.table.lostCount, { export: name }));
    },
  ),
  perExport(
    'tmem_writeback_pages_total',
    'Pages brought to the image by the writer.',
    ({ writer }) => writer.statistics.writtenPages,
  ),
  perExport(
    'tmem_writeback_writes_total',
    'Writes that brought them, each of a run of consecutive pages.',
    ({ writer }) => writer.statistics.runs,
  ),
  perExport(
    'tmem_writeback_clean_pages_total',
    'Clean pages that were written along, since they lay between dirty ones.',
    ({ writer }) => writer.statistics.cleanPages,
  ),
  perExport(
    'tmem_writeback_failures_total',
    'Those that the image failed.',
    ({ writer }) => writer.statistics.failures,
  ),
  perExport(
    'tmem_writeback_redirtied_pages_total',
    'Pages that were written again while they were under way, and so stayed dirty.',
    ({ writer }) => writer.statistics.redirtiedPages,
  ),
  perExport(
    'tmem_writeback_waits_total',
    'Writes of clients that waited because too much was dirty.',
    ({ statistics }) => statistics.waits,
  ),
  perExport(
    'tmem_writeback_fallthrough_pages_total',
    'Written pages that no layer took; they went to the image before their write was answered.',
    ({ statistics }) => statistics.fallThroughPages,
  ),
  perExport(
    'tmem_writeback_merged_pages_total',
    'Pages read from the image because a write covered a part of them.',
    ({ statistics }) => statistics.mergedPages,
  ),
];
