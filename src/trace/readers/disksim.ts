/**
 * ASCII traces of DiskSim 4.0 (Bucy et al., reference manual, 3.4.1): `time device block blocks flags`.
 * Times are milliseconds with a fraction, blocks 512 bytes, flags hexadecimal; bit 0 means a read.
 */

import type { ParserContext } from '../format.ts';
import type { Line } from '../line.ts';
import { OP, type RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, TAKEN, textFormat } from '../text-format.ts';

class DisksimLines implements LineParser {
  readonly #context: ParserContext;

  constructor(context: ParserContext) {
    this.#context = context;
  }

  parse(line: Line, batch: RequestBatch): number {
    const { volumes, sectorBytes } = this.#context;
    line.spaces();
    const timeUs = line.fixed(3);
    if (timeUs < 0 || !line.spaces()) return MALFORMED;
    const name = line.at;
    line.word();
    const nameEnd = line.at;
    line.spaces();
    const block = line.unsigned();
    if (block < 0 || !line.spaces()) return MALFORMED;
    const blocks = line.unsigned();
    if (blocks < 0 || !line.spaces()) return MALFORMED;
    const isRead = lastHexBit(line);
    if (isRead < 0) return MALFORMED;
    const volume = volumes.ofBytes(line.bytes, name, nameEnd);
    if (volume < 0) return MALFORMED;
    const op = isRead === 1 ? OP.read : OP.write;
    batch.push(timeUs, block * sectorBytes, blocks * sectorBytes, volume, op, 0, 0);
    return TAKEN;
  }
}

/** Bit 0 of the hexadecimal number at the cursor; -1 if there is none. */
function lastHexBit(line: Line): number {
  let bit = -1;
  for (; ; line.at++) {
    const letter = line.letter();
    if (letter >= 0x30 && letter <= 0x39) bit = letter & 1;
    // The letters a, c and e have odd codes and even values.
    else if (letter >= 0x61 && letter <= 0x66) bit = (letter & 1) ^ 1;
    else if (letter !== 0x78 || bit !== 0) return bit;
  }
}

export const disksim = textFormat({
  name: 'disksim',
  title: 'DiskSim ASCII',
  line: /^\s*\d+\.\d+\s+\d+\s+\d+\s+\d+\s+(0x)?[0-9a-f]+$/i,
  timeUnit: 'ms',
  createLineParser: (context) => new DisksimLines(context),
});
