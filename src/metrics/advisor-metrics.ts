/** Metrics of the advisors: what other memory or another policy would do, by a sample of the pages. */

import { gauge, type MetricDefinition } from './definition.ts';
import type { AdvisorSource, EstimateSource, MetricsSources } from './sources.ts';

/** The exports that are advised on, and what is known of each by now. */
function* advised(sources: MetricsSources): Generator<[name: string, report: AdvisorSource]> {
  for (const { name } of sources.exports) {
    const report = sources.advisors(name);
    if (report !== undefined) yield [name, report];
  }
}

/** A gauge of every estimate. */
function perEstimate(
  name: string,
  help: string,
  read: (estimate: EstimateSource) => number,
): MetricDefinition {
  return gauge(name, help, ['export', 'memory', 'policy'], (sources, set) => {
    for (const [each, { sizes, others }] of advised(sources)) {
      for (const estimate of [...sizes, ...others]) {
        const { memory, policy } = estimate;
        set(read(estimate), { export: each, memory: String(memory), policy });
      }
    }
  });
}

/** A gauge of every point of the curves. */
function perPoint(
  name: string,
  help: string,
  read: (point: AdvisorSource['curve'][number]) => number,
): MetricDefinition {
  return gauge(name, help, ['export', 'pages'], (sources, set) => {
    for (const [each, { curve }] of advised(sources)) {
      for (const point of curve) set(read(point), { export: each, pages: String(point.pages) });
    }
  });
}

/** A gauge of one number of each report. */
function perReport(
  name: string,
  help: string,
  read: (report: AdvisorSource) => number,
): MetricDefinition {
  return gauge(name, help, ['export'], (sources, set) => {
    for (const [each, report] of advised(sources)) set(read(report), { export: each });
  });
}

const errorOf = ({ low, high }: { readonly low: number; readonly high: number }): number =>
  (high - low) / 2;

export const ADVISOR_METRICS: readonly MetricDefinition[] = [
  perEstimate(
    'tmem_advisor_miss_ratio',
    'The share of pages read that a policy would miss with so many times the memory of now.',
    ({ missRatio }) => missRatio,
  ),
  perEstimate(
    'tmem_advisor_miss_ratio_error',
    'Half the width of the error band of tmem_advisor_miss_ratio.',
    errorOf,
  ),
  perEstimate(
    'tmem_advisor_memory_bytes',
    'What so many times the memory of now comes to.',
    ({ bytes }) => bytes,
  ),
  perPoint(
    'tmem_advisor_curve_miss_ratio',
    'The share of pages read that LRU would miss with room for so many pages; at most 16 points.',
    ({ missRatio }) => missRatio,
  ),
  perPoint(
    'tmem_advisor_curve_miss_ratio_error',
    'Half the width of the error band of tmem_advisor_curve_miss_ratio.',
    errorOf,
  ),
  perReport(
    'tmem_advisor_sampled_pages',
    'Pages that are followed for the curve.',
    ({ sampledPages }) => sampledPages,
  ),
  perReport(
    'tmem_advisor_sampled_reads',
    'Pages read that the estimates rest on; those of a while ago count for half, a quarter, …',
    ({ sampledReads }) => sampledReads,
  ),
  perReport(
    'tmem_advisor_footprint_pages',
    'Distinct pages that were asked for since the start, by estimate.',
    ({ footprintPages }) => footprintPages,
  ),
  perReport(
    'tmem_advisor_gap',
    'By how much the real miss ratio of pages is above the estimate for the memory of now.',
    ({ gap }) => gap,
  ),
];
