/**
 * The metrics of one service in Prometheus' text format. Nothing is counted here: the parts count in
 * plain fields, which are copied when somebody asks. All of a scrape is read in one turn of the event
 * loop, so that its numbers agree with each other.
 */

import { Counter, Gauge, type Histogram, Registry } from 'prom-client';
import { CATALOGUE } from './catalogue.ts';
import type { HistogramDefinition, Observations, ScalarDefinition } from './definition.ts';
import type { MetricsSources } from './sources.ts';

export class Metrics {
  /** Of this service alone: two services in a process have nothing in common. */
  readonly #registry = new Registry();

  constructor(sources: MetricsSources) {
    for (const definition of CATALOGUE) {
      if (definition.type === 'histogram') {
        this.#registry.registerMetric(new CopiedHistogram(definition, sources).asMetric());
      } else if (definition.type === 'counter') {
        registerCounter(this.#registry, definition, sources);
      } else {
        registerGauge(this.#registry, definition, sources);
      }
    }
  }

  /** The media type of what `scrape` answers. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Reads everything now; the text ends with a line end. */
  scrape(): Promise<string> {
    return this.#registry.metrics();
  }
}

function registerCounter(
  registry: Registry,
  { name, help, labelNames, read }: ScalarDefinition,
  sources: MetricsSources,
): void {
  new Counter({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset(); // the sources know the totals, and a counter can only be added to
      read(sources, (value, labels) => this.inc(labels, value));
    },
  });
}

function registerGauge(
  registry: Registry,
  { name, help, labelNames, read }: ScalarDefinition,
  sources: MetricsSources,
): void {
  new Gauge({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      read(sources, (value, labels) => this.set(labels, value));
    },
  });
}

interface HistogramValue {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/**
 * A histogram that is copied from counts. The library's own can only be told of observations one by
 * one, which for a million requests between two scrapes would stop the service.
 */
class CopiedHistogram {
  readonly type = 'histogram';
  readonly aggregator = 'sum';
  readonly name: string;
  readonly help: string;
  readonly #definition: HistogramDefinition;
  readonly #sources: MetricsSources;

  constructor(definition: HistogramDefinition, sources: MetricsSources) {
    this.name = definition.name;
    this.help = definition.help;
    this.#definition = definition;
    this.#sources = sources;
  }

  /** What a registry takes; of a metric it only ever uses `name` and `get`. */
  asMetric(): Histogram {
    return this as unknown as Histogram;
  }

  async get() {
    const { name, help, type, aggregator } = this;
    const bounds = this.#definition.bounds(this.#sources);
    const values: HistogramValue[] = [];
    this.#definition.read(this.#sources, (observations, labels) => {
      values.push(...this.#valuesOf(bounds, observations, labels));
    });
    return { name, help, type, aggregator, values };
  }

  *#valuesOf(
    bounds: readonly number[],
    { counts, sum }: Observations,
    labels: Readonly<Record<string, string>>,
  ): Generator<HistogramValue> {
    const { name } = this;
    let count = 0;
    for (const [bucket, bound] of [...bounds, '+Inf'].entries()) {
      count += counts[bucket] ?? 0;
      yield { metricName: `${name}_bucket`, labels: { le: bound, ...labels }, value: count };
    }
    yield { metricName: `${name}_sum`, labels, value: sum };
    yield { metricName: `${name}_count`, labels, value: count };
  }
}
