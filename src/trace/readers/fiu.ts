/**
 * FIU (Koller and Rangaswami, FAST'10; SNIA IOTTA 390), separated by spaces:
 * `time pid process lba blocks W|R major minor md5`. Times are nanoseconds, `lba` and `blocks` count
 * 512 bytes; the hashes of the content are not used.
 */

import type { Line } from '../line.ts';
import type { RequestBatch } from '../request-batch.ts';
import { type LineParser, MALFORMED, readOrWrite, TAKEN, textFormat } from '../text-format.ts';
import type { VolumeTable } from '../volume-table.ts';

class FiuLines implements LineParser {
  readonly #volumes: VolumeTable;
  readonly #sectorBytes: number;

  constructor(volumes: VolumeTable, sectorBytes: number) {
    this.#volumes = volumes;
    this.#sectorBytes = sectorBytes;
  }

  parse(line: Line, batch: RequestBatch): number {
    if (!line.long() || !line.spaces()) return MALFORMED;
    const timeUs = line.high * 1e6 + line.low / 1000;
    if (!line.word() || !line.spaces() || !line.word() || !line.spaces()) return MALFORMED;
    const lba = line.unsigned();
    if (lba < 0 || !line.spaces()) return MALFORMED;
    const blocks = line.unsigned();
    if (blocks < 0 || !line.spaces()) return MALFORMED;
    const op = readOrWrite(line);
    if (op < 0 || !line.word()) return MALFORMED;
    if (!line.spaces()) return MALFORMED;
    const name = line.at;
    if (!line.word() || !line.spaces() || !line.word()) return MALFORMED;
    const volume = this.#volumes.ofBytes(line.bytes, name, line.at);
    if (volume < 0) return MALFORMED;
    batch.push(timeUs, lba * this.#sectorBytes, blocks * this.#sectorBytes, volume, op, 0, 0);
    return TAKEN;
  }
}

export const fiu = textFormat({
  name: 'fiu',
  title: 'FIU',
  line: /^\d+\s+\d+\s+\S+\s+\d+\s+\d+\s+[RW]\s+\d+\s+\d+(\s+[0-9a-f]+)?$/i,
  timeUnit: 'ns',
  createLineParser: ({ volumes, sectorBytes }) => new FiuLines(volumes, sectorBytes),
});
