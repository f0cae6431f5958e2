/**
 * BLOCK_STATUS: which parts of a range are holes, which are zeros (`base:allocation`), and which image
 * of a chain holds them (`qemu:allocation-depth`).
 *
 * Source: NBD specification, "NBD_CMD_BLOCK_STATUS" and "`base:allocation` metadata context"; QEMU,
 * docs/interop/nbd.txt, "qemu:allocation-depth".
 */

import type { ExportExtent } from '../../export/reads/extents.ts';
import { ALLOCATION_DEPTH_ID } from '../meta-contexts.ts';
import { AllocationState, Chunk, ChunkFlag, Command, CommandFlag, WireBytes } from '../protocol.ts';
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
    extents = await target.extents.list(offset, length, countMax);
  };
  transmission.wait(Command.BLOCK_STATUS, work(), (errno) => {
    if (errno !== 0) {
      transmission.appendShort(cookie, Command.BLOCK_STATUS, errno);
      return;
    }
    const runs = metaContextIds.map((id) => runsOf(id, extents));
    const reply = Buffer.alloc(runs.reduce((sum, { length }) => sum + chunkBytes(length), 0));
    let at = 0;
    for (const [i, id] of metaContextIds.entries()) {
      const flags = i === metaContextIds.length - 1 ? ChunkFlag.DONE : 0;
      at = writeStatusChunk(reply, at, cookie, flags, id, runs[i] ?? []);
    }
    writer.appendOwned(reply);
  });
}

function chunkBytes(extentCount: number): number {
  return WireBytes.CHUNK_HEADER + 4 + extentCount * WireBytes.EXTENT;
}

/** A run of bytes of one state in one context. */
interface StatusRun {
  readonly length: number;
  readonly state: number;
}

/** The extents as a context sees them: neighbours of one state are one run. */
function runsOf(contextId: number, extents: readonly ExportExtent[]): StatusRun[] {
  const runs: StatusRun[] = [];
  for (const extent of extents) {
    const state = contextId === ALLOCATION_DEPTH_ID ? depthState(extent) : allocationState(extent);
    const last = runs.at(-1);
    if (last?.state !== state) runs.push({ length: extent.length, state });
    else runs[runs.length - 1] = { length: last.length + extent.length, state };
  }
  return runs;
}

function allocationState({ isHole, isZero }: ExportExtent): number {
  return (isHole ? AllocationState.HOLE : 0) | (isZero ? AllocationState.ZERO : 0);
}

/** 0 where no image has anything, 1 for the image itself, 2 for its backing image, and so on. */
function depthState({ isAllocated, depth }: ExportExtent): number {
  return isAllocated ? depth + 1 : 0;
}

function writeStatusChunk(
  to: Buffer,
  at: number,
  cookie: Cookie,
  flags: number,
  contextId: number,
  runs: readonly StatusRun[],
): number {
  const payload = chunkBytes(runs.length) - WireBytes.CHUNK_HEADER;
  let end = writeChunkHeader(to, at, cookie, flags, Chunk.BLOCK_STATUS, payload);
  end = to.writeUInt32BE(contextId, end);
  for (const { length, state } of runs) {
    end = to.writeUInt32BE(length, end);
    end = to.writeUInt32BE(state, end);
  }
  return end;
}
