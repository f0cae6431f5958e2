/**
 * Text of blkparse(1) in its default form:
 * `major,minor cpu sequence time pid action rwbs sector + sectors [process]`. Only Q events count:
 * further down, requests have been merged and split. Times are seconds, sectors 512 bytes.
 */

import type { ParserContext } from '../format.ts';
import type { Line } from '../line.ts';
import { OP, type RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, PASSED_OVER, TAKEN, textFormat } from '../text-format.ts';

const PLUS = 0x2b;
const LETTER_Q = 0x71;
const LETTER_D = 0x64;
const LETTER_F = 0x66;
const LETTER_R = 0x72;
const LETTER_W = 0x77;
const SECTOR_BYTES = 512;

class BlkparseLines implements LineParser {
  readonly #context: ParserContext;

  constructor(context: ParserContext) {
    this.#context = context;
  }

  parse(line: Line, batch: RequestBatch): number {
    line.spaces();
    const name = line.at;
    // The summary at the end, and messages before the first event.
    if (line.unsigned() < 0 || !line.skip(0x2c)) return PASSED_OVER;
    if (line.unsigned() < 0) return PASSED_OVER;
    const nameEnd = line.at;
    for (let field = 0; field < 2; field++) {
      if (!line.spaces() || !line.word()) return MALFORMED;
    }
    line.spaces();
    const timeUs = line.fixed(6);
    if (timeUs < 0 || !line.spaces() || !line.word() || !line.spaces()) return MALFORMED;
    const action = line.at;
    const isQueued = line.letter() === LETTER_Q;
    line.word();
    if (!isQueued || line.at - action !== 1) return PASSED_OVER;
    line.spaces();
    const hasFlush = line.letter() === LETTER_F;
    const op = opOf(line);
    if (op < 0) return PASSED_OVER;
    line.word();
    line.spaces();
    const sector = line.unsigned();
    line.spaces();
    const hasRange = sector >= 0 && line.skip(PLUS) && line.spaces();
    const sectors = hasRange ? line.unsigned() : 0;
    if (sectors < 0 || (hasRange ? !line.isFieldEnd() : !hasFlush)) return MALFORMED;
    const volume = this.#context.volumes.ofBytes(line.bytes, name, nameEnd);
    if (volume < 0) return MALFORMED;
    const isFlush = sectors === 0;
    const offset = isFlush ? 0 : sector * SECTOR_BYTES;
    const length = isFlush ? 0 : sectors * SECTOR_BYTES;
    batch.push(timeUs, offset, length, volume, isFlush ? OP.flush : op, 0, 0);
    return TAKEN;
  }
}

/** What the letters of `rwbs` at the cursor ask for; -1 for what is no request to the disk. */
function opOf(line: Line): number {
  const { bytes, end } = line;
  let op = -1;
  for (let at = line.at; at < end; at++) {
    const letter = bytes[at]! | 0x20;
    if (letter === LETTER_R) return OP.read;
    if (letter === LETTER_W) return OP.write;
    if (letter === LETTER_D) return OP.trim;
    // A flush before a write is another letter of that write.
    if (letter === LETTER_F) op = OP.flush;
    else break;
  }
  return op;
}

export const blkparse = textFormat({
  name: 'blkparse',
  title: 'blkparse text',
  line: /^\s*\d+,\d+\s+\d+\s+\d+\s+\d+\.\d+\s+\d+\s+[A-Zm]{1,2}\s/,
  // Summaries of all processors stand at the end.
  shareMin: 0.5,
  createLineParser: (context) => new BlkparseLines(context),
});
