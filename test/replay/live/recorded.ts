/** Small traces in our own format, for replays against servers. */

import path from 'node:path';
import { openTrace } from '../../../src/trace/open-trace.ts';
import { RecordingFile } from '../../../src/trace/own/recording-file.ts';
import { OwnTraceWriter } from '../../../src/trace/own/writer.ts';
import { OP } from '../../../src/trace/request-batch.ts';
import type { Trace } from '../../../src/trace/trace.ts';
import { workspace } from '../../tools/workspace.ts';

export interface Recorded {
  readonly op: keyof typeof OP;
  readonly offset?: number;
  readonly length?: number;
  readonly volume?: number;
  readonly atUs?: number;
}

/** Writes a trace; answers its path, which is gone after the test. */
export async function recorded(
  requests: readonly Recorded[],
  volumes: readonly string[] = ['disk'],
): Promise<string> {
  const file = await RecordingFile.create(path.join(workspace(), 'a.trace'));
  const writer = new OwnTraceWriter(file, { volumes });
  await writer.start();
  for (const { op, offset = 0, length = 4096, volume = 0, atUs = 0 } of requests) {
    writer.append(atUs, offset, op === 'flush' ? 0 : length, volume, OP[op], 0, 0, 0);
  }
  await writer.close();
  await file.close();
  return file.path;
}

export async function traceOf(...parts: Parameters<typeof recorded>): Promise<Trace> {
  return openTrace([await recorded(...parts)]);
}
