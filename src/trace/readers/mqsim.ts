/**
 * Traces of MQSim (Tavakkol et al., FAST'18): `time device sector sectors type`. Times are
 * nanoseconds, sectors 512 bytes; type 1 is a read, 0 a write.
 */

import { LIKENESS, type ParserContext } from '../format.ts';
import type { Line } from '../line.ts';
import { OP, type RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, TAKEN, textFormat } from '../text-format.ts';

class MqsimLines implements LineParser {
  readonly #context: ParserContext;

  constructor(context: ParserContext) {
    this.#context = context;
  }

  parse(line: Line, batch: RequestBatch): number {
    const { volumes, sectorBytes } = this.#context;
    line.spaces();
    if (!line.long() || !line.spaces()) return MALFORMED;
    const timeUs = line.high * 1e6 + line.low / 1000;
    const name = line.at;
    line.word();
    const nameEnd = line.at;
    line.spaces();
    const sector = line.unsigned();
    if (sector < 0 || !line.spaces()) return MALFORMED;
    const sectors = line.unsigned();
    if (sectors < 0 || !line.spaces()) return MALFORMED;
    const type = line.unsigned();
    if ((type !== 0 && type !== 1) || !line.isAtEnd()) return MALFORMED;
    const volume = volumes.ofBytes(line.bytes, name, nameEnd);
    if (volume < 0) return MALFORMED;
    const op = type === 1 ? OP.read : OP.write;
    batch.push(timeUs, sector * sectorBytes, sectors * sectorBytes, volume, op, 0, 0);
    return TAKEN;
  }
}

export const mqsim = textFormat({
  name: 'mqsim',
  title: 'MQSim',
  line: /^\s*\d+\s+\d+\s+\d+\s+\d+\s+[01]$/,
  likeness: LIKENESS.likely,
  timeUnit: 'ns',
  createLineParser: (context) => new MqsimLines(context),
});
