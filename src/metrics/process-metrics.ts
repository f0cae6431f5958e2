/**
 * Metrics of the process, under the names that dashboards for Prometheus and for Node know. All are
 * read at the scrape: between scrapes nothing samples, and an idle process sleeps.
 */

import { counter, gauge, type MetricDefinition } from './definition.ts';
import type { ProcessReading } from './sources.ts';

function reading(name: string, help: string, field: keyof ProcessReading): MetricDefinition {
  return gauge(name, help, [], ({ process }, set) => set(process()[field], {}));
}

export const PROCESS_METRICS: readonly MetricDefinition[] = [
  gauge(
    'tmem_build_info',
    'Always 1: the versions of this program and of Node, and the codec in use.',
    ['version', 'node', 'codec'],
    ({ build }, set) => set(1, build),
  ),
  reading('process_resident_memory_bytes', 'Memory the process has resident.', 'residentBytes'),
  reading('process_start_time_seconds', 'When it started, since the epoch.', 'startTimeSeconds'),
  counter(
    'process_cpu_seconds_total',
    'Processor time of all its threads, user and system.',
    [],
    ({ process }, set) => set(process().cpuSeconds, {}),
  ),
  reading('nodejs_heap_size_used_bytes', 'The JavaScript heap in use.', 'heapUsedBytes'),
  reading(
    'nodejs_external_memory_bytes',
    'Memory outside the heap that belongs to objects on it; slabs and buffers are here.',
    'externalBytes',
  ),
  reading(
    'nodejs_eventloop_lag_seconds',
    'How long a whole turn of the event loop took at the time of the scrape.',
    'loopLagSeconds',
  ),
  counter(
    'nodejs_eventloop_seconds_total',
    'Time of the event loop by state: active, or idle (asleep until something happens).',
    ['state'],
    ({ process }, set) => {
      const { loopActiveSeconds, loopIdleSeconds } = process();
      set(loopActiveSeconds, { state: 'active' });
      set(loopIdleSeconds, { state: 'idle' });
    },
  ),
];
