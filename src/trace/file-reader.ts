/** Reads one file of a trace: bytes in, batches of requests out, in constant memory. */

import { TmemError } from '../lib/errors.ts';
import type { ByteSource } from './byte-source.ts';
import { type FileTally, REQUESTS_PER_RECORD_MAX, type RecordParser } from './format.ts';
import type { RequestBatch } from './request-batch.ts';

/** Malformed lines, of all lines, beyond which a trace is taken for something else. */
const MALFORMED_SHARE_MAX = 0.01;
/** Below so many lines a share says nothing before the end. */
const LINES_FOR_SHARE = 10_000;

/** What a reading of a file works with. */
export interface FileReading {
  readonly source: ByteSource;
  readonly parser: RecordParser;
  readonly tally: FileTally;
  /** How the format is called in messages. */
  readonly title: string;
  /** What the file looks like, if it is not that; for messages. */
  readonly lookedLike: string | undefined;
  /** What times are multiplied with. */
  readonly timeScale: number;
  readonly batch: RequestBatch;
  /** How many bytes are in memory at once; a line is no longer. */
  readonly windowBytes: number;
}

/** The number of a line, and the line, as messages show it. */
export function showMalformed({ path, recordName, firstMalformed }: FileTally): string {
  if (firstMalformed === undefined) return '';
  return `${recordName} ${firstMalformed.line} of ${path}: "${firstMalformed.text}"`;
}

function checkShare(reading: FileReading, isLast: boolean): void {
  const { tally, title, lookedLike } = reading;
  const { lines, malformed } = tally;
  if (malformed === 0 || malformed <= lines * MALFORMED_SHARE_MAX) return;
  if (!isLast && lines < LINES_FOR_SHARE) return;
  const sentence = `${malformed} of ${lines} ${tally.recordName}s of ${tally.path} are no ${title}`;
  const advice =
    lookedLike === undefined ? 'look at the file' : `try --format ${lookedLike}, as it looks like`;
  throw new TmemError(
    'invalid',
    `${sentence}, first ${showMalformed(tally)}; more than 1 % is too much: ${advice}`,
    { context: { lines, malformed } },
  );
}

function scaleTimes({ batch, timeScale }: FileReading): RequestBatch {
  if (timeScale === 1) return batch;
  for (let index = 0; index < batch.count; index++) batch.timeUs[index]! *= timeScale;
  return batch;
}

/**
 * All requests of a file. The batch is always the same; it belongs to the caller until the next one
 * is asked for. Throws a `TmemError` when more than 1 % of the lines are malformed.
 */
export async function* readFileBatches(reading: FileReading): AsyncGenerator<RequestBatch> {
  const { source, parser, batch, tally } = reading;
  const countMax = batch.capacity - REQUESTS_PER_RECORD_MAX;
  const window = Buffer.allocUnsafe(reading.windowBytes);
  let filled = 0;
  batch.count = 0;
  for (let isLast = false; !isLast; ) {
    const length = await source.read(window.subarray(filled));
    isLast = length === 0;
    filled += length;
    let at = 0;
    for (;;) {
      at = parser.parse(window, at, filled, isLast, batch);
      if (batch.count <= countMax) break;
      yield scaleTimes(reading);
      batch.count = 0;
    }
    checkShare(reading, isLast);
    if (at === 0 && filled === window.length) {
      const line = `${tally.recordName} ${tally.lines + 1} of ${tally.path}`;
      const sentence = `${line} is longer than ${window.length} bytes`;
      throw new TmemError('invalid', `${sentence}; this is no ${reading.title}`);
    }
    window.copyWithin(0, at, filled);
    filled -= at;
  }
  if (batch.count > 0) yield scaleTimes(reading);
}
