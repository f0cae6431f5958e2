/** Files for tests of traces, in a folder that goes away, and what is read from them. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OpenTraceOptions } from '../../src/trace/format.ts';
import { openTrace } from '../../src/trace/open-trace.ts';
import type { Trace } from '../../src/trace/trace.ts';
import { workspace } from '../tools/workspace.ts';
import { type PlainRequest, plainRequests } from './parsing.ts';

/** Writes files by name into a new folder and answers their paths in the same order. */
export function writeFiles(...files: readonly (readonly [string, string | Buffer])[]): string[] {
  const folder = workspace();
  return files.map(([name, content]) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  });
}

/** Everything that a reading of a trace gives. */
export async function readAll(trace: Trace): Promise<PlainRequest[]> {
  const requests: PlainRequest[] = [];
  for await (const batch of trace.batches()) {
    requests.push(...plainRequests(batch, trace.volumes));
  }
  return requests;
}

/** Opens and reads a trace. */
export async function readFiles(
  paths: readonly string[],
  options: OpenTraceOptions = {},
): Promise<{ trace: Trace; requests: PlainRequest[] }> {
  const trace = await openTrace(paths, options);
  return { trace, requests: await readAll(trace) };
}
