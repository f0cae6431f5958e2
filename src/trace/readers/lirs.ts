/**
 * Traces of the LIRS authors (Jiang and Zhang, SIGMETRICS'02), and any other text with one number on
 * each line: the block, or the object, that was asked for. Lines that begin with `*` are marks.
 */

import { LIKENESS, type ParserContext } from '../format.ts';
import type { Line } from '../line.ts';
import { OP, type RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, PASSED_OVER, TAKEN, textFormat } from '../text-format.ts';

const ASTERISK = 0x2a;

class LirsLines implements LineParser {
  readonly #context: ParserContext;
  readonly #volume: number;

  constructor(context: ParserContext) {
    this.#context = context;
    this.#volume = context.volumes.ofName(context.volumeName);
  }

  parse(line: Line, batch: RequestBatch): number {
    line.spaces();
    if (line.letter() === ASTERISK) return PASSED_OVER;
    const key = line.key();
    if (key < 0 || !line.isAtEnd()) return MALFORMED;
    batch.push(this.#context.ordinal.next++, key, 1, this.#volume, OP.read, 0, 0);
    return TAKEN;
  }
}

export const lirs = textFormat({
  name: 'lirs',
  title: 'LIRS (one key on each line)',
  line: /^\s*(\d+|\*.*)$/,
  likeness: LIKENESS.likely,
  unit: 'keys',
  hasClock: false,
  createLineParser: (context) => new LirsLines(context),
});
