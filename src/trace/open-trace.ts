/** Opens recorded workloads of any known format, one file or several that are one trace. */

import { TmemError } from '../lib/errors.ts';
import { FileTrace } from './file-trace.ts';
import type { OpenTraceOptions } from './format.ts';
import { type InputFile, lookAt } from './input-file.ts';
import type { Trace } from './trace.ts';

/**
 * Opens a trace: finds out, or checks, its format, without reading more than the beginning of each
 * file. Several files are one trace, merged by time where the format has times. Throws a
 * `TmemError`, one sentence, for files that are missing, empty, of no known format, or of several.
 */
export async function openTrace(
  paths: readonly string[],
  options: OpenTraceOptions = {},
): Promise<Trace> {
  if (paths.length === 0) throw new TmemError('usage', 'no trace was given; name its files');
  const inputs: InputFile[] = [];
  try {
    for (const path of paths) inputs.push(await lookAt(path, options));
    refuseMixture(inputs);
    return new FileTrace(inputs, options);
  } catch (error) {
    for (const { pipe } of inputs) await pipe?.source.close();
    throw error;
  }
}

/** One trace is of one format: mixing them would mix up units and volumes. */
function refuseMixture(inputs: readonly InputFile[]): void {
  for (const other of inputs) {
    const one = inputs[0]!;
    const [what, another] = differenceOf(one, other);
    if (what === undefined) continue;
    const sentence = `${one.path} ${what} but ${other.path} ${another}`;
    const advice =
      one.format === other.format
        ? 'give them to commands of their own'
        : 'make them one before (tmem trace merge)';
    throw new TmemError('invalid', `${sentence}, and such files are not one trace; ${advice}`);
  }
}

/** What is said of each of two files that cannot be one trace; nothing of those that can. */
function differenceOf(one: InputFile, other: InputFile): string[] {
  if (one.format !== other.format) return [`is ${one.format.title}`, `is ${other.format.title}`];
  const [reading, otherReading] = [one.reading, other.reading];
  if (reading.unit !== otherReading.unit) {
    return [`has ${reading.unit}`, `has ${otherReading.unit}`];
  }
  if (reading.hasClock === otherReading.hasClock) return [];
  return reading.hasClock ? ['has times', 'has none'] : ['has no times', 'has'];
}
