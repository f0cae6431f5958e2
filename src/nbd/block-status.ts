/**
 * BLOCK_STATUS in the `base:allocation` context: which parts of a range are holes, which are zeros.
 *
 * Source: NBD specification, "NBD_CMD_BLOCK_STATUS" and "`base:allocation` metadata context".
 */

import type { ExportExtent } from '../export/export.ts';
import { AllocationState, Chunk, ChunkFlag, Command, CommandFlag, WireBytes } from './protocol.ts';
import { type Cookie, writeChunkHeader } from './replies.ts';
import type { Request } from './request.ts';
import type { Transmission } from './transmission.ts';

/** Extents in one reply. A client that wants more asks again from where the reply ends. */
const EXTENT_COUNT_MAX = 2048;

/** Answers a BLOCK_STATUS request: one chunk for each selected context. */
export function answerBlockStatus(
  transmission: Transmission,
  cookie: Cookie,
  request: Request,
): void {
  const { export: target, metaContextIds, writer } = transmission.options;
  const { offset, length } = request;
  const countMax = (request.flags & CommandFlag.REQ_ONE) !== 0 ? 1 : EXTENT_COUNT_MAX;
  let extents: ExportExtent[] = [];
  const work = async (): Promise<void> => {
    extents = await target.extents(offset, length, countMax);
  };
  transmission.wait(Command.BLOCK_STATUS, work(), (errno) => {
    if (errno !== 0) {
      transmission.appendShort(cookie, Command.BLOCK_STATUS, errno);
      return;
    }
    const reply = Buffer.alloc(metaContextIds.length * chunkBytes(extents.length));
    let at = 0;
    for (const [i, id] of metaContextIds.entries()) {
      const flags = i === metaContextIds.length - 1 ? ChunkFlag.DONE : 0;
      at = writeStatusChunk(reply, at, cookie, flags, id, extents);
    }
    writer.appendOwned(reply);
  });
}

function chunkBytes(extentCount: number): number {
  return WireBytes.CHUNK_HEADER + 4 + extentCount * WireBytes.EXTENT;
}

function writeStatusChunk(
  to: Buffer,
  at: number,
  cookie: Cookie,
  flags: number,
  contextId: number,
  extents: readonly ExportExtent[],
): number {
  const payload = chunkBytes(extents.length) - WireBytes.CHUNK_HEADER;
  let end = writeChunkHeader(to, at, cookie, flags, Chunk.BLOCK_STATUS, payload);
  end = to.writeUInt32BE(contextId, end);
  for (const { length, isHole, isZero } of extents) {
    const state = (isHole ? AllocationState.HOLE : 0) | (isZero ? AllocationState.ZERO : 0);
    end = to.writeUInt32BE(length, end);
    end = to.writeUInt32BE(state, end);
  }
  return end;
}
