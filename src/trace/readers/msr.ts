/**
 * MSR Cambridge (Narayanan et al., FAST'08; SNIA IOTTA 388):
 * `Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime`. Times are Windows file times,
 * 100 ns since 1601; those before 1970 were made relative, and stay so. Disk numbers repeat from
 * host to host, so that a volume is host and disk.
 */

import { COMMA, type Line } from '../line.ts';
import type { RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, readOrWrite, TAKEN, textFormat } from '../text-format.ts';
import type { VolumeTable } from '../volume-table.ts';

/** From 1601 to 1970 in units of 100 s: a file time without its last nine digits. */
const EPOCH_HIGH = 116_444_736;

class MsrLines implements LineParser {
  readonly #volumes: VolumeTable;

  constructor(volumes: VolumeTable) {
    this.#volumes = volumes;
  }

  parse(line: Line, batch: RequestBatch): number {
    if (!line.long() || !line.skip(COMMA)) return MALFORMED;
    // In two parts, since a double holds no file time exactly.
    const high = line.high < EPOCH_HIGH ? line.high : line.high - EPOCH_HIGH;
    const timeUs = high * 1e8 + line.low / 10;
    const name = line.at;
    if (!line.skipPast(COMMA)) return MALFORMED;
    line.skipTo(COMMA);
    const nameEnd = line.at;
    line.skip(COMMA);
    const op = readOrWrite(line);
    if (op < 0) return MALFORMED;
    line.skipPast(COMMA);
    const offset = line.unsigned();
    if (!line.skip(COMMA)) return MALFORMED;
    const length = line.unsigned();
    if (!line.skip(COMMA)) return MALFORMED;
    const latency = line.unsigned();
    if (offset < 0 || length < 0 || latency < 0 || !line.isFieldEnd()) return MALFORMED;
    const volume = this.#volumes.ofBytes(line.bytes, name, nameEnd);
    if (volume < 0) return MALFORMED;
    batch.push(timeUs, offset, length, volume, op, latency / 10, 0);
    return TAKEN;
  }
}

export const msr = textFormat({
  name: 'msr',
  title: 'MSR Cambridge',
  line: /^\d{15,20},[^,]+,\d+,(read|write),\d+,\d+,\d+$/i,
  header: /^timestamp,hostname,/i,
  createLineParser: ({ volumes }) => new MsrLines(volumes),
});
