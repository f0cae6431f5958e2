/** Every metric there is, in the order in which a scrape shows them. */

import { ADVISOR_METRICS } from './advisor-metrics.ts';
import type { MetricDefinition } from './definition.ts';
import { EXPORT_METRICS } from './export-metrics.ts';
import { IMAGE_METRICS } from './image-metrics.ts';
import { LAYER_METRICS } from './layer-metrics.ts';
import { MEMORY_METRICS } from './memory-metrics.ts';
import { NBD_METRICS } from './nbd-metrics.ts';
import { PROCESS_METRICS } from './process-metrics.ts';
import { RECORD_METRICS } from './record-metrics.ts';
import { WRITE_BACK_METRICS } from './write-back-metrics.ts';

export const CATALOGUE: readonly MetricDefinition[] = [
  ...LAYER_METRICS,
  ...EXPORT_METRICS,
  ...ADVISOR_METRICS,
  ...IMAGE_METRICS,
  ...WRITE_BACK_METRICS,
  ...MEMORY_METRICS,
  ...NBD_METRICS,
  ...RECORD_METRICS,
  ...PROCESS_METRICS,
];
