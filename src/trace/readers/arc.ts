/**
 * Traces of the ARC paper (Megiddo and Modha, FAST'03), `.lis`: `start blocks ignored request`. Blocks
 * are 512 bytes; there are no times.
 */

import { LIKENESS, type ParserContext } from '../format.ts';
import type { Line } from '../line.ts';
import { OP, type RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, TAKEN, textFormat } from '../text-format.ts';

class ArcLines implements LineParser {
  readonly #context: ParserContext;
  readonly #volume: number;

  constructor(context: ParserContext) {
    this.#context = context;
    this.#volume = context.volumes.ofName(context.volumeName);
  }

  parse(line: Line, batch: RequestBatch): number {
    const { ordinal, sectorBytes } = this.#context;
    const start = line.unsigned();
    if (start < 0 || !line.spaces()) return MALFORMED;
    const blocks = line.unsigned();
    if (blocks < 0 || !line.isFieldEnd()) return MALFORMED;
    const offset = start * sectorBytes;
    batch.push(ordinal.next++, offset, blocks * sectorBytes, this.#volume, OP.read, 0, 0);
    return TAKEN;
  }
}

export const arc = textFormat({
  name: 'arc',
  title: 'ARC (.lis)',
  line: /^\d+\s+\d+\s+0\s+\d+$/,
  fileName: /\.lis$/,
  likeness: LIKENESS.likely,
  hasClock: false,
  createLineParser: (context) => new ArcLines(context),
});
