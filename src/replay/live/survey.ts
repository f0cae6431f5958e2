/** A trace gone through once before it is replayed: what it asks, of which volumes, since when. */

import { OP, OP_NAMES } from '../../trace/request-batch.ts';
import type { Trace } from '../../trace/trace.ts';

/** What a trace asks of one volume. */
export interface VolumeSurvey {
  readonly name: string;
  /** Requests by operation. */
  readonly requests: Float64Array;
  /** The end of the last byte that is read, and that is changed. */
  readEnd: number;
  changeEnd: number;
}

/** What a whole trace asks. */
export interface Survey {
  /** Those that it asks anything of, by the number that the trace gives them. */
  readonly volumes: ReadonlyMap<number, VolumeSurvey>;
  /** Microseconds on the trace's clock; NaN for a trace without requests. */
  readonly firstTimeUs: number;
}

/** Reads a trace to its end. Rejects as its reading does. */
export async function surveyTrace(trace: Trace, onBatch: () => void): Promise<Survey> {
  const volumes = new Map<number, VolumeSurvey>();
  let firstTimeUs = Number.NaN;
  for await (const batch of trace.batches()) {
    for (let i = 0; i < batch.count; i++) {
      const number = batch.volume[i]!;
      const volume = volumes.get(number) ?? emptyVolume(trace.volumes[number] ?? '');
      volumes.set(number, volume);
      const op = batch.op[i]!;
      const end = batch.offset[i]! + batch.length[i]!;
      volume.requests[op]!++;
      if (op === OP.read) volume.readEnd = Math.max(volume.readEnd, end);
      else if (op !== OP.flush) volume.changeEnd = Math.max(volume.changeEnd, end);
      if (Number.isNaN(firstTimeUs)) firstTimeUs = batch.timeUs[i]!;
    }
    onBatch();
  }
  return { volumes, firstTimeUs };
}

function emptyVolume(name: string): VolumeSurvey {
  return { name, requests: new Float64Array(OP_NAMES.length), readEnd: 0, changeEnd: 0 };
}
