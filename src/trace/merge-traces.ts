/** Traces of whatever formats, merged into one by time. */

import { TmemError } from '../lib/errors.ts';
import { mergeByTime } from './merge.ts';
import type { RequestBatch } from './request-batch.ts';
import type { Trace } from './trace.ts';
import { VolumeTable } from './volume-table.ts';

const TRACES_MAX = 256;

/** How traces that were recorded apart become one. */
export interface MergeOptions {
  /** Every trace begins at time 0, whenever it was recorded. */
  readonly isAligned: boolean;
  /** Volumes are told apart by their traces' names as well. */
  readonly isPrefixed: boolean;
}

/** One stream of several traces. */
export class MergedTraces {
  readonly #traces: readonly Trace[];
  readonly #options: MergeOptions;
  readonly #volumes = new VolumeTable();

  /** Throws a `TmemError` for traces that cannot be merged. */
  constructor(traces: readonly Trace[], options: MergeOptions) {
    this.#traces = traces;
    this.#options = options;
    const timeless = traces.find(({ hasClock }) => !hasClock);
    if (timeless !== undefined) {
      const sentence = `${timeless.name} has no times, by which traces are merged`;
      throw new TmemError('invalid', `${sentence}; convert the files one after another instead`);
    }
    const other = traces.find(({ unit }) => unit !== traces[0]?.unit);
    if (other !== undefined) {
      const sentence = `${other.name} is a trace of ${other.unit}, ${traces[0]?.name} is not`;
      throw new TmemError('invalid', `${sentence}; they cannot be one trace`);
    }
    if (traces.length > TRACES_MAX) {
      throw new TmemError('usage', `at most ${TRACES_MAX} traces are merged at once`);
    }
  }

  get volumes(): readonly string[] {
    return this.#volumes.names;
  }

  /** All requests in order of time; the batch is the same object every time. */
  batches(): AsyncGenerator<RequestBatch> {
    const inputs = this.#traces.map((trace) => ({
      // Where it begins is known when it has been opened.
      firstTimeUs: Number.NEGATIVE_INFINITY,
      open: () => this.#translate(trace),
    }));
    return mergeByTime(inputs, TRACES_MAX, () => {
      throw new Error('as many as are allowed are open at once');
    });
  }

  async *#translate(trace: Trace): AsyncGenerator<RequestBatch> {
    const numbers: number[] = [];
    let startUs = Number.NaN;
    for await (const batch of trace.batches()) {
      if (Number.isNaN(startUs)) startUs = this.#options.isAligned ? (batch.timeUs[0] ?? 0) : 0;
      for (let index = 0; index < batch.count; index++) {
        const volume = batch.volume[index]!;
        numbers[volume] ??= this.#numberOf(trace, volume);
        batch.volume[index] = numbers[volume];
        batch.timeUs[index]! -= startUs;
      }
      yield batch;
    }
  }

  #numberOf(trace: Trace, volume: number): number {
    const number = this.#volumes.ofName(this.#nameOf(trace, volume));
    const { sampleRate, isMergedSample, paths } = trace;
    if (sampleRate < 1 && !isMergedSample) {
      this.#volumes.noteSample(number, paths[0] ?? trace.name, volume);
    }
    return number;
  }

  #nameOf(trace: Trace, volume: number): string {
    const name = trace.volumes[volume] ?? '';
    return this.#options.isPrefixed ? `${trace.name}:${name}` : name;
  }
}
