/**
 * Fujitsu K5 cloud (SNIA IOTTA 26930): `ID,Timestamp,Type,Offset,Length`, a file per volume and day.
 * Times are seconds since the first request of the set, types R and W, sizes bytes.
 */

import { COMMA, type Line } from '../line.ts';
import type { RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, readOrWrite, TAKEN, textFormat } from '../text-format.ts';
import type { VolumeTable } from '../volume-table.ts';

class K5Lines implements LineParser {
  readonly #volumes: VolumeTable;

  constructor(volumes: VolumeTable) {
    this.#volumes = volumes;
  }

  parse(line: Line, batch: RequestBatch): number {
    const name = line.at;
    line.skipTo(COMMA);
    const nameEnd = line.at;
    if (nameEnd === name || !line.skip(COMMA)) return MALFORMED;
    const timeUs = line.fixed(6);
    if (timeUs < 0 || !line.skip(COMMA)) return MALFORMED;
    const op = readOrWrite(line);
    if (op < 0 || !line.skipPast(COMMA)) return MALFORMED;
    const offset = line.unsigned();
    if (offset < 0 || !line.skip(COMMA)) return MALFORMED;
    const length = line.unsigned();
    if (length < 0 || !line.isFieldEnd()) return MALFORMED;
    const volume = this.#volumes.ofBytes(line.bytes, name, nameEnd);
    if (volume < 0) return MALFORMED;
    batch.push(timeUs, offset, length, volume, op, 0, 0);
    return TAKEN;
  }
}

export const k5 = textFormat({
  name: 'k5',
  title: 'Fujitsu K5 cloud',
  line: /^\d+,\d+(\.\d+)?,[RW],\d+,\d+$/i,
  timeUnit: 's',
  createLineParser: ({ volumes }) => new K5Lines(volumes),
});
