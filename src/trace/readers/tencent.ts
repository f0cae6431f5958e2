/**
 * Tencent CBS (Zhang et al., ATC'20; SNIA IOTTA 27917): `Timestamp,Offset,Size,IOType,VolumeID`.
 * Times are seconds, offsets and sizes count 512 bytes, types are 0 for read and 1 for write. A later
 * release has offsets and sizes in bytes.
 */

import type { FileHead } from '../file-head.ts';
import { COMMA, type Line } from '../line.ts';
import { OP, type RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, TAKEN, textFormat } from '../text-format.ts';
import type { VolumeTable } from '../volume-table.ts';

/** So many sizes in a row are not all multiples of 512 sectors by chance. */
const ODD_LINES_MIN = 20;

class TencentLines implements LineParser {
  readonly #volumes: VolumeTable;
  readonly #sectorBytes: number;

  constructor(volumes: VolumeTable, sectorBytes: number) {
    this.#volumes = volumes;
    this.#sectorBytes = sectorBytes;
  }

  parse(line: Line, batch: RequestBatch): number {
    const timeUs = line.fixed(6);
    if (timeUs < 0 || !line.skip(COMMA)) return MALFORMED;
    const sector = line.unsigned();
    if (sector < 0 || !line.skip(COMMA)) return MALFORMED;
    const sectors = line.unsigned();
    if (sectors < 0 || !line.skip(COMMA)) return MALFORMED;
    const type = line.unsigned();
    if ((type !== 0 && type !== 1) || !line.skip(COMMA)) return MALFORMED;
    const name = line.at;
    if (line.unsigned() < 0 || !line.isAtEnd()) return MALFORMED;
    const volume = this.#volumes.ofBytes(line.bytes, name, line.at);
    if (volume < 0) return MALFORMED;
    const op = type === 0 ? OP.read : OP.write;
    batch.push(timeUs, sector * this.#sectorBytes, sectors * this.#sectorBytes, volume, op, 0, 0);
    return TAKEN;
  }
}

/** Sizes that are all multiples of 512 are bytes. */
function warningsOf({ path, lines }: FileHead): readonly string[] {
  const sizes = lines.map((line) => Number(line.split(',')[2])).filter((size) => size > 0);
  if (sizes.length < ODD_LINES_MIN || sizes.some((size) => size % 512 !== 0)) return [];
  return [
    `offsets and sizes of ${path} look like bytes, not sectors; if so, give --sector-bytes 1`,
  ];
}

export const tencent = textFormat({
  name: 'tencent',
  title: 'Tencent CBS',
  line: /^\d+(\.\d+)?,\d+,\d+,[01],\d+$/,
  header: /^timestamp,offset,size,iotype,volumeid/i,
  timeUnit: 's',
  warningsOf,
  createLineParser: ({ volumes, sectorBytes }) => new TencentLines(volumes, sectorBytes),
});
