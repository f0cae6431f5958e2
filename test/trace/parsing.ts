/** Drives one reader with bytes in pieces, without files. */

import { fileHeadOf } from '../../src/trace/file-head.ts';
import type { FileTally, FormatOptions } from '../../src/trace/format.ts';
import { formatOfName } from '../../src/trace/formats.ts';
import { newTally } from '../../src/trace/input-file.ts';
import { OP_NAMES, RequestBatch } from '../../src/trace/request-batch.ts';
import { VolumeTable } from '../../src/trace/volume-table.ts';

/** A request as tests write it. */
export interface PlainRequest {
  readonly timeUs: number;
  readonly op: string;
  readonly offset: number;
  readonly length: number;
  readonly volume: string;
  readonly latencyUs?: number;
  readonly contentBytes?: number;
}

export interface Parsed {
  readonly requests: readonly PlainRequest[];
  readonly tally: FileTally;
}

/** The requests of a batch, without what is 0 where that means unknown. */
export function plainRequests(batch: RequestBatch, volumes: readonly string[]): PlainRequest[] {
  return Array.from({ length: batch.count }, (_, index) => {
    const latencyUs = batch.latencyUs[index] ?? 0;
    const contentBytes = batch.contentBytes[index] ?? 0;
    return {
      timeUs: batch.timeUs[index] ?? Number.NaN,
      op: OP_NAMES[batch.op[index] ?? -1] ?? '?',
      offset: batch.offset[index] ?? Number.NaN,
      length: batch.length[index] ?? Number.NaN,
      volume: volumes[batch.volume[index] ?? -1] ?? '?',
      ...(latencyUs !== 0 && { latencyUs }),
      ...(contentBytes !== 0 && { contentBytes }),
    };
  });
}

/** What a reader makes of `bytes`, which come in pieces that end at `cuts`. */
export function parseInPieces(
  formatName: string,
  bytes: Buffer,
  cuts: readonly number[] = [],
  options: FormatOptions & { readonly capacity?: number } = {},
): Parsed {
  const head = fileHeadOf('folder/disk.trace', bytes.subarray(0, 65_536), true);
  const reading = formatOfName(formatName).read(head, options);
  const tally = newTally('trace', reading);
  const volumes = new VolumeTable();
  const parser = reading.createParser({
    ...{ volumes, volumeName: 'disk', tally, ordinal: { next: 0 } },
    sectorBytes: options.sectorBytes ?? 512,
  });
  const batch = new RequestBatch(options.capacity ?? 1024);
  const requests: PlainRequest[] = [];
  let from = 0;
  for (const to of [...cuts, bytes.length]) {
    const isLast = to === bytes.length;
    for (;;) {
      const at = parser.parse(bytes.subarray(0, to), from, to, isLast, batch);
      const isDone = batch.count <= batch.capacity - 512;
      requests.push(...plainRequests(batch, volumes.names));
      batch.count = 0;
      from = at;
      if (isDone) break;
    }
  }
  return { requests, tally };
}
