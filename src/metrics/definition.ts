/** What one metric is: its name and labels, and how its values are read from the sources. */

import type { MetricsSources } from './sources.ts';

type Labels<Label extends string> = Readonly<Record<Label, string>>;

interface Named<Label extends string> {
  /** As Prometheus wants it: base units, and counters end in `_total`. */
  readonly name: string;
  /** One sentence. */
  readonly help: string;
  /** Only one of a metric's labels may hold what a user chose freely, an export's name. */
  readonly labelNames: readonly Label[];
}

/** A metric of one number per set of labels. Each set is named at most once while reading. */
export interface ScalarDefinition<Label extends string = string> extends Named<Label> {
  readonly type: 'counter' | 'gauge';
  readonly read: (
    sources: MetricsSources,
    set: (value: number, labels: Labels<Label>) => void,
  ) => void;
}

/** What was observed: how many per bucket (not cumulative; the last has no bound), and their sum. */
export interface Observations {
  readonly counts: ArrayLike<number>;
  readonly sum: number;
}

/** A metric of one distribution per set of labels. */
export interface HistogramDefinition<Label extends string = string> extends Named<Label> {
  readonly type: 'histogram';
  /** Upper bounds of the buckets, ascending. */
  readonly bounds: (sources: MetricsSources) => readonly number[];
  readonly read: (
    sources: MetricsSources,
    set: (observations: Observations, labels: Labels<Label>) => void,
  ) => void;
}

export type MetricDefinition = ScalarDefinition | HistogramDefinition;

/** Defines a value that only grows while the process lives. */
export function counter<Label extends string>(
  name: `${string}_total`,
  help: string,
  labelNames: readonly Label[],
  read: ScalarDefinition<Label>['read'],
): ScalarDefinition<Label> {
  return { type: 'counter', name, help, labelNames, read };
}

/** Defines a value that goes up and down. */
export function gauge<Label extends string>(
  name: string,
  help: string,
  labelNames: readonly Label[],
  read: ScalarDefinition<Label>['read'],
): ScalarDefinition<Label> {
  return { type: 'gauge', name, help, labelNames, read };
}

/** Defines a distribution. */
export function histogram<Label extends string>(
  name: string,
  help: string,
  labelNames: readonly Label[],
  bounds: HistogramDefinition<Label>['bounds'],
  read: HistogramDefinition<Label>['read'],
): HistogramDefinition<Label> {
  return { type: 'histogram', name, help, labelNames, bounds, read };
}
