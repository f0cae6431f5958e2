/** Metrics of recordings of what clients ask. */

import { counter, gauge, type MetricDefinition } from './definition.ts';

export const RECORD_METRICS: readonly MetricDefinition[] = [
  gauge('tmem_record_active', '1 while requests are recorded.', [], ({ recording }, set) => {
    set(recording().isRecording ? 1 : 0, {});
  }),
  counter(
    'tmem_record_requests_total',
    'Requests that were recorded, on the disk or on their way there.',
    [],
    ({ recording }, set) => set(recording().requests, {}),
  ),
  counter(
    'tmem_record_dropped_total',
    'Requests left out of recordings because the disk was slower, or failed.',
    [],
    ({ recording }, set) => set(recording().dropped, {}),
  ),
  counter('tmem_record_bytes_total', 'Bytes of the recordings.', [], ({ recording }, set) =>
    set(recording().bytes, {}),
  ),
];
