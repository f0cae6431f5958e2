/**
 * Alibaba block traces 2020 (Li et al., IISWC'20; github.com/alibaba/block-traces):
 * `device_id,opcode,offset,length,timestamp`. Opcodes are R and W, sizes bytes, times microseconds.
 */

import { COMMA, type Line } from '../line.ts';
import type { RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, readOrWrite, TAKEN, textFormat } from '../text-format.ts';
import type { VolumeTable } from '../volume-table.ts';

class AlibabaLines implements LineParser {
  readonly #volumes: VolumeTable;

  constructor(volumes: VolumeTable) {
    this.#volumes = volumes;
  }

  parse(line: Line, batch: RequestBatch): number {
    const name = line.at;
    line.skipTo(COMMA);
    const nameEnd = line.at;
    if (nameEnd === name || !line.skip(COMMA)) return MALFORMED;
    const op = readOrWrite(line);
    if (op < 0 || !line.skipPast(COMMA)) return MALFORMED;
    const offset = line.unsigned();
    if (offset < 0 || !line.skip(COMMA)) return MALFORMED;
    const length = line.unsigned();
    if (length < 0 || !line.skip(COMMA)) return MALFORMED;
    const timeUs = line.unsigned();
    if (timeUs < 0 || !line.isFieldEnd()) return MALFORMED;
    const volume = this.#volumes.ofBytes(line.bytes, name, nameEnd);
    if (volume < 0) return MALFORMED;
    batch.push(timeUs, offset, length, volume, op, 0, 0);
    return TAKEN;
  }
}

export const alibaba = textFormat({
  name: 'alibaba',
  title: 'Alibaba block traces',
  line: /^\d+,[RW],\d+,\d+,\d+$/i,
  header: /^device_id,opcode,/i,
  timeUnit: 'us',
  createLineParser: ({ volumes }) => new AlibabaLines(volumes),
});
