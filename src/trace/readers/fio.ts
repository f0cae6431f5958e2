/**
 * Logs of fio's --write_iolog, "Trace file format" in fio(1). Version 2: `file action offset length`,
 * and `file wait microseconds`. Version 3, from fio 3.31: every line begins with its time, in
 * microseconds since the start of the job.
 */

import { LIKENESS, type ParserContext, type TraceFormat } from '../format.ts';
import type { Line } from '../line.ts';
import { OP, type RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, PASSED_OVER, TAKEN, TextScanner } from '../text-format.ts';

const OP_BY_ACTION: ReadonlyMap<string, number> = new Map([
  ['read', OP.read],
  ['write', OP.write],
  ['trim', OP.trim],
  ['sync', OP.flush],
  ['datasync', OP.flush],
  ['sync_file_range', OP.flush],
]);
const OTHER_ACTIONS: ReadonlySet<string> = new Set(['add', 'open', 'close']);

class FioLines implements LineParser {
  readonly #context: ParserContext;
  readonly #version: number;
  #waitedUs = 0;

  constructor(context: ParserContext, version: number) {
    this.#context = context;
    this.#version = version;
  }

  parse(line: Line, batch: RequestBatch): number {
    let timeUs = this.#waitedUs;
    if (this.#version === 3) {
      timeUs = line.unsigned();
      if (timeUs < 0 || !line.spaces()) return MALFORMED;
    }
    const name = line.at;
    line.word();
    const nameEnd = line.at;
    line.spaces();
    const start = line.at;
    if (!line.word()) return MALFORMED;
    const action = line.textFrom(start);
    if (OTHER_ACTIONS.has(action)) return PASSED_OVER;
    line.spaces();
    const offset = line.unsigned();
    if (action === 'wait' && offset >= 0) {
      this.#waitedUs += offset;
      return PASSED_OVER;
    }
    line.spaces();
    const length = line.unsigned();
    const op = OP_BY_ACTION.get(action) ?? -1;
    const isFlush = op === OP.flush;
    if (op < 0 || !line.isFieldEnd()) return MALFORMED;
    if (!isFlush && (offset < 0 || length < 0)) return MALFORMED;
    const volume = this.#context.volumes.ofBytes(line.bytes, name, nameEnd);
    if (volume < 0) return MALFORMED;
    batch.push(timeUs, isFlush ? 0 : offset, isFlush ? 0 : length, volume, op, 0, 0);
    return TAKEN;
  }
}

function iolog(version: number): TraceFormat {
  const header = new RegExp(`^fio version ${version} iolog`);
  return {
    name: `fio-v${version}`,
    title: `fio iolog version ${version}`,
    likeness: ({ isText, lines: [first = ''] }) =>
      isText && header.test(first) ? LIKENESS.certain : LIKENESS.no,
    read: () => ({
      ...{ unit: 'bytes', hasClock: true, timeUnit: 'us' },
      createParser: (context) => new TextScanner(new FioLines(context, version), context, header),
    }),
  };
}

export const fioV2 = iolog(2);
export const fioV3 = iolog(3);
