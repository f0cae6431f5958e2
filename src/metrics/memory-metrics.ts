/** Metrics of who has the memory: the governor that holds the limit, accounts, swap devices. */

import { counter, gauge, type MetricDefinition, type ScalarDefinition } from './definition.ts';
import type { GovernorReading, OverflowSource } from './sources.ts';

function perOverflow(
  name: string,
  help: string,
  read: (overflow: OverflowSource) => number,
): MetricDefinition {
  return gauge(name, help, ['export'], ({ overflows }, set) => {
    for (const overflow of overflows) set(read(overflow), { export: overflow.name });
  });
}

/** Reads a value of the governor. */
function perGovernor(read: (state: GovernorReading) => number): ScalarDefinition['read'] {
  return ({ governor }, set) => set(read(governor()), {});
}

export const MEMORY_METRICS: readonly MetricDefinition[] = [
  gauge(
    'tmem_governor_limit_bytes',
    'What pages and their metadata may come to now; the governor lowers it when memory is short.',
    [],
    perGovernor(({ targetBytes }) => targetBytes),
  ),
  counter(
    'tmem_governor_cuts_total',
    'How often it lowered the limit, by the reason.',
    ['reason'],
    ({ governor }, set) => {
      for (const [reason, count] of Object.entries(governor().cuts)) set(count, { reason });
    },
  ),
  counter(
    'tmem_governor_freed_bytes_total',
    'Bytes that it gave back.',
    [],
    perGovernor(({ shrunkBytes }) => shrunkBytes),
  ),
  gauge(
    'tmem_governor_stuck',
    '1 while more is held than the limit and nothing can go: it waits for dirty pages.',
    [],
    perGovernor(({ isStuck }) => (isStuck ? 1 : 0)),
  ),
  gauge(
    'tmem_account_memory_bytes',
    'Memory that the pages of an export take, in all layers.',
    ['account'],
    ({ accounts }, set) => {
      for (const { name, usedBytes } of accounts()) set(usedBytes, { account: name });
    },
  ),
  gauge(
    'tmem_persistent_ratio',
    'Share of the memory that pages take which may not vanish; at 1 new ones are refused.',
    [],
    ({ layers }, set) => {
      let persistentBytes = 0;
      let limitBytes = 0;
      for (const layer of layers) {
        const usage = layer.usage();
        persistentBytes += usage.persistentBytes;
        limitBytes += usage.limitBytes;
      }
      set(limitBytes === 0 ? 0 : persistentBytes / limitBytes, {});
    },
  ),
  perOverflow(
    'tmem_overflow_live_bytes',
    'Bytes of pages in the overflow file of a swap device, as they are stored.',
    ({ liveBytes }) => liveBytes,
  ),
  perOverflow(
    'tmem_overflow_dead_bytes',
    'Bytes in it that are not needed any more and not yet reused.',
    ({ deadBytes }) => deadBytes,
  ),
  perOverflow(
    'tmem_overflow_capacity_bytes',
    'What the live bytes may come to: then the device answers ENOSPC.',
    ({ capacityBytes }) => capacityBytes,
  ),
  counter(
    'tmem_overflow_pages_total',
    'Pages written to the overflow file, and moved in it to make room.',
    ['export', 'cause'],
    ({ overflows }, set) => {
      for (const { name, statistics } of overflows) {
        set(statistics.recordsWritten, { export: name, cause: 'written' });
        set(statistics.cleanedRecords, { export: name, cause: 'moved' });
      }
    },
  ),
  gauge(
    'tmem_snapshot_pages',
    'Pages of the last snapshot by what became of them.',
    ['outcome'],
    ({ snapshot }, set) => {
      const { loaded = 0, skippedPresent = 0, skippedChanged = 0 } = snapshot() ?? {};
      const { skippedAtCap = 0, skippedStale = 0, skippedDamaged = 0 } = snapshot() ?? {};
      set(loaded, { outcome: 'loaded' });
      set(skippedPresent, { outcome: 'present' });
      set(skippedChanged, { outcome: 'changed' });
      set(skippedAtCap, { outcome: 'at-cap' });
      set(skippedStale, { outcome: 'stale' });
      set(skippedDamaged, { outcome: 'damaged' });
    },
  ),
  counter(
    'tmem_overflow_damaged_total',
    'Records of the overflow file that were not what had been written: reading them failed.',
    ['export'],
    ({ overflows }, set) => {
      for (const { name, statistics } of overflows) {
        set(statistics.checksumFailures, { export: name });
      }
    },
  ),
];
