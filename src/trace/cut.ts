/** A part of a trace: by time, by count, by volume, by operation, or a sample of its pages. */

import { PageSampler } from './own/page-sampler.ts';
import { type Op, RequestBatch } from './request-batch.ts';
import { sampledBatches } from './sampled-batches.ts';
import type { Trace } from './trace.ts';

/** What is kept: requests to which all of it applies. */
export interface Cut {
  /** Microseconds after the first request of the trace. */
  readonly fromUs?: number;
  /** The end, which is not kept itself. */
  readonly untilUs?: number;
  /** How many of those that are kept otherwise are left out at the start. */
  readonly skip?: number;
  /** How many are kept at most. */
  readonly requestsMax?: number;
  /** Names; all volumes if it is left out. */
  readonly volumes?: ReadonlySet<string>;
  /** All operations if it is left out. */
  readonly ops?: ReadonlySet<Op>;
  /** The share of pages that is kept, with all their requests, above 0 and up to 1. */
  readonly sampleRate?: number;
}

/** Decides for one request after another, and keeps count. */
class Chooser {
  isDone = false;
  readonly #cut: Cut;
  readonly #volumes: readonly string[];
  readonly #hasVolume: boolean[] = [];
  readonly #ops: Uint8Array;
  #skipLeft: number;
  #left: number;
  #startUs = Number.NaN;

  constructor(cut: Cut, trace: Trace) {
    this.#cut = cut;
    this.#volumes = trace.volumes;
    this.#ops = Uint8Array.from({ length: 256 }, (_, op) =>
      cut.ops === undefined || cut.ops.has(op as Op) ? 1 : 0,
    );
    this.#skipLeft = cut.skip ?? 0;
    this.#left = cut.requestsMax ?? Number.POSITIVE_INFINITY;
  }

  /** Whether request `index` is kept, before samples are taken. */
  takes(batch: RequestBatch, index: number): boolean {
    const { fromUs = 0, untilUs = Number.POSITIVE_INFINITY } = this.#cut;
    if (Number.isNaN(this.#startUs)) this.#startUs = batch.timeUs[index]!;
    const timeUs = batch.timeUs[index]! - this.#startUs;
    if (timeUs < fromUs || timeUs >= untilUs) return false;
    if (this.#ops[batch.op[index]!] === 0 || !this.#takesVolume(batch.volume[index]!)) return false;
    if (this.#skipLeft > 0) {
      this.#skipLeft--;
      return false;
    }
    this.isDone = --this.#left <= 0;
    return this.#left >= 0;
  }

  #takesVolume(volume: number): boolean {
    const { volumes } = this.#cut;
    if (volumes === undefined) return true;
    this.#hasVolume[volume] ??= volumes.has(this.#volumes[volume] ?? '');
    return this.#hasVolume[volume];
  }
}

/**
 * The requests of `trace` that are kept. The batch is the same object every time. Reading ends as
 * soon as enough are kept; not at the end of a time, since requests may be out of order.
 */
export function cutBatches(trace: Trace, cut: Cut): AsyncGenerator<RequestBatch> {
  const { sampleRate = 1 } = cut;
  const chosen = chosenBatches(trace, cut);
  if (sampleRate === 1) return chosen;
  return sampledBatches(chosen, trace.unit, new PageSampler(sampleRate));
}

async function* chosenBatches(trace: Trace, cut: Cut): AsyncGenerator<RequestBatch> {
  const out = new RequestBatch();
  let chooser: Chooser | undefined;
  for await (const batch of trace.batches()) {
    // The names of the volumes are those of this reading.
    chooser ??= new Chooser(cut, trace);
    for (let index = 0; index < batch.count && !chooser.isDone; index++) {
      if (!chooser.takes(batch, index)) continue;
      out.pushFrom(batch, index);
      if (out.count < out.capacity) continue;
      yield out;
      out.count = 0;
    }
    if (chooser.isDone) break;
  }
  if (out.count > 0) yield out;
  // A reading that ends early may not have come to a volume yet.
  if (!chooser?.isDone) warnOfUnknown(trace, cut.volumes ?? new Set());
}

function warnOfUnknown({ volumes, statistics }: Trace, wanted: ReadonlySet<string>): void {
  for (const name of wanted) {
    if (volumes.includes(name)) continue;
    statistics.warnings.push(
      `no request is of volume "${name}"; see what volumes there are with info`,
    );
  }
}
