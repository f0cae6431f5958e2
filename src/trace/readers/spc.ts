/**
 * UMass (Financial1, WebSearch1 and so on) in the trace format of the Storage Performance Council,
 * revision 1.0.1: `ASU,LBA,Size,Opcode,Timestamp` and further fields that are not used. `LBA` counts
 * 512 bytes, sizes are bytes, opcodes r and w, times seconds. A volume is an ASU.
 */

import { COMMA, type Line } from '../line.ts';
import type { RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, readOrWrite, TAKEN, textFormat } from '../text-format.ts';
import type { VolumeTable } from '../volume-table.ts';

class SpcLines implements LineParser {
  readonly #volumes: VolumeTable;
  readonly #sectorBytes: number;

  constructor(volumes: VolumeTable, sectorBytes: number) {
    this.#volumes = volumes;
    this.#sectorBytes = sectorBytes;
  }

  parse(line: Line, batch: RequestBatch): number {
    const name = line.at;
    line.skipTo(COMMA);
    const nameEnd = line.at;
    if (nameEnd === name || !line.skip(COMMA)) return MALFORMED;
    line.spaces();
    const lba = line.unsigned();
    if (lba < 0 || !line.skip(COMMA)) return MALFORMED;
    line.spaces();
    const length = line.unsigned();
    if (length < 0 || !line.skip(COMMA)) return MALFORMED;
    line.spaces();
    const op = readOrWrite(line);
    if (op < 0 || !line.skipPast(COMMA)) return MALFORMED;
    line.spaces();
    const timeUs = line.fixed(6);
    if (timeUs < 0 || !line.isFieldEnd()) return MALFORMED;
    const volume = this.#volumes.ofBytes(line.bytes, name, nameEnd);
    if (volume < 0) return MALFORMED;
    batch.push(timeUs, lba * this.#sectorBytes, length, volume, op, 0, 0);
    return TAKEN;
  }
}

export const spc = textFormat({
  name: 'spc',
  title: 'UMass SPC',
  line: /^\d+, ?\d+, ?\d+, ?[RW], ?\d+(\.\d+)?(,.*)?$/i,
  timeUnit: 's',
  createLineParser: ({ volumes, sectorBytes }) => new SpcLines(volumes, sectorBytes),
});
