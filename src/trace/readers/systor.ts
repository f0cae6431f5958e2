/**
 * SYSTOR'17 VDI traces (Lee et al.; SNIA IOTTA 4928): `Timestamp,Response,IOType,LUN,Offset,Size`
 * with a header line. Times and responses are seconds, a response may be missing, sizes are bytes.
 */

import { COMMA, type Line } from '../line.ts';
import type { RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, readOrWrite, TAKEN, textFormat } from '../text-format.ts';
import type { VolumeTable } from '../volume-table.ts';

class SystorLines implements LineParser {
  readonly #volumes: VolumeTable;

  constructor(volumes: VolumeTable) {
    this.#volumes = volumes;
  }

  parse(line: Line, batch: RequestBatch): number {
    const timeUs = line.fixed(6);
    if (timeUs < 0 || !line.skip(COMMA)) return MALFORMED;
    const latencyUs = Math.max(0, line.fixed(6));
    if (!line.skip(COMMA)) return MALFORMED;
    const op = readOrWrite(line);
    if (op < 0 || !line.skipPast(COMMA)) return MALFORMED;
    const name = line.at;
    line.skipTo(COMMA);
    const nameEnd = line.at;
    line.skip(COMMA);
    const offset = line.unsigned();
    if (offset < 0 || !line.skip(COMMA)) return MALFORMED;
    const length = line.unsigned();
    // Rows with another number of fields exist.
    if (nameEnd === name || length < 0 || !line.isAtEnd()) return MALFORMED;
    const volume = this.#volumes.ofBytes(line.bytes, name, nameEnd);
    if (volume < 0) return MALFORMED;
    batch.push(timeUs, offset, length, volume, op, latencyUs, 0);
    return TAKEN;
  }
}

export const systor = textFormat({
  name: 'systor',
  title: "SYSTOR'17",
  line: /^\d+(\.\d+)?,(\d+(\.\d+)?)?,[RW],\d+,\d+,\d+$/i,
  header: /^timestamp,response,iotype,lun,offset,size/i,
  timeUnit: 's',
  createLineParser: ({ volumes }) => new SystorLines(volumes),
});
