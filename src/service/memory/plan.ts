/** How the memory of a service is divided: the parts never come to more than the whole. */

import { BODY_BYTES_MAX } from '../../admin/server.ts';
import { DIRTY_PAGE_METADATA_BYTES } from '../../export/pages/dirty-pages.ts';
import { STRANDED_BYTES_MAX } from '../../export/pages/stranded-pages.ts';
import { TmemError } from '../../lib/errors.ts';
import { roundUp } from '../../lib/round-up.ts';
import { exactSize, formatSize } from '../../lib/sizes.ts';
import { WRITER_BYTES } from '../../nbd/transmission/reply-writer.ts';

const MIB = 1024 * 1024;
/** The share of the memory that buffers of requests in flight take, and its bounds. */
const BUFFER_SHARE = 1 / 8;
const BUFFER_BYTES_MIN = 8 * MIB;
const BUFFER_BYTES_MAX = 64 * MIB;
/** More memory than that is no room for more clients. */
export const CLIENTS_MEMORY_BYTES_MAX = BUFFER_BYTES_MAX / BUFFER_SHARE;
/** What each export that is written back has besides: a spare, pages that are merged, stranded ones. */
const WRITE_BACK_BYTES = 256 * 1024 + STRANDED_BYTES_MAX;
/** The share for buffers of writing back, and its bounds for each export. */
const WRITER_SHARE = 1 / 64;
const WRITER_BUFFER_BYTES_MIN = 2 * MIB;
const WRITER_BUFFER_BYTES_MAX = 16 * MIB;
/** The share for bodies of requests over HTTP, where there is an admin address, and its bounds. */
const BODY_SHARE = 1 / 32;
const BODY_BYTES_MIN = MIB;
/** The share for the tables of swap devices, which may have every page of the memory. */
const SWAP_TABLE_SHARE = 1 / 20;
/** The least that is worth a stack. */
const STACK_BYTES_MIN = 8 * MIB;

/** Among whom memory is divided. */
export interface MemoryNeeds {
  readonly maxConnections: number;
  readonly pageBytes: number;
  /** Exports that are written back. */
  readonly writeBackCount: number;
  readonly dirtyLimitBytes: number;
  /** What the tables of dirty pages may take for sparse writes, bytes; see `dirtyObjectBytes`. */
  readonly dirtyObjectBytes: number;
  /** Sizes of the swap devices, bytes. */
  readonly swapBytes: readonly number[];
  /** Whether there is an admin address. */
  readonly hasAdmin: boolean;
  /** Buffers and tables that were made before, bytes. */
  readonly takenBytes: number;
}

export interface MemoryPlan {
  readonly stackBytes: number;
  readonly poolBytes: number;
  /** Buffers of the writer of each export that is written back; 0 when none is. */
  readonly writerBytes: number;
  /** Bodies of HTTP requests that are held at a time; 0 without an admin address. */
  readonly bodyBytes: number;
  /** Clients admitted at a time: each has reply buffers of its own. */
  readonly connectionCount: number;
  /** Dirty pages that each export written back may have. */
  readonly dirtyPages: number;
  /** Dirty pages that each swap device may have, in order. */
  readonly swapDirtyPages: readonly number[];
}

/**
 * Divides the memory; `needsOf` says what is wanted of so many bytes. Throws `usage` when there is too
 * little, with an amount that suffices.
 */
export function planMemory(
  memoryBytes: number,
  needsOf: (memoryBytes: number) => MemoryNeeds,
): MemoryPlan {
  const plan = divide(memoryBytes, needsOf(memoryBytes));
  if (plan.stackBytes >= STACK_BYTES_MIN) return plan;
  const enough = exactSize(sufficientBytes(memoryBytes, needsOf));
  throw new TmemError(
    'usage',
    `memory is ${formatSize(memoryBytes)}, too little for these exports; give ${enough}, or have ` +
      'fewer images, or fewer or smaller swap devices',
  );
}

/** Shares grow with the memory, so that what is missing of `memoryBytes` is not all that is. */
function sufficientBytes(
  memoryBytes: number,
  needsOf: (memoryBytes: number) => MemoryNeeds,
): number {
  for (let bytes = memoryBytes; ; ) {
    const missingBytes = STACK_BYTES_MIN - divide(bytes, needsOf(bytes)).stackBytes;
    if (missingBytes <= 0) return bytes;
    bytes = roundUp(bytes + missingBytes, MIB);
  }
}

/** The stack has what is left, which may be less than nothing. */
function divide(memoryBytes: number, needs: MemoryNeeds): MemoryPlan {
  const { maxConnections, pageBytes, writeBackCount, swapBytes } = needs;
  const bufferBytes = clamp(memoryBytes * BUFFER_SHARE, BUFFER_BYTES_MIN, BUFFER_BYTES_MAX);
  const admitted = Math.floor(bufferBytes / 2 / WRITER_BYTES);
  const connectionCount = Math.max(1, Math.min(maxConnections, admitted));
  const writerCount = writeBackCount + swapBytes.length;
  const writerShare = (memoryBytes * WRITER_SHARE) / Math.max(1, writerCount);
  const writerBytes =
    writerCount === 0 ? 0 : clamp(writerShare, WRITER_BUFFER_BYTES_MIN, WRITER_BUFFER_BYTES_MAX);
  const bodyBytes = needs.hasAdmin
    ? clamp(memoryBytes * BODY_SHARE, BODY_BYTES_MIN, BODY_BYTES_MAX)
    : 0;
  const dirtyPages = Math.floor(needs.dirtyLimitBytes / pageBytes / Math.max(1, writeBackCount));
  const tableBytes = (memoryBytes * SWAP_TABLE_SHARE) / Math.max(1, swapBytes.length);
  const swapDirtyPages = swapBytes.map((bytes) =>
    Math.min(Math.ceil(bytes / pageBytes), Math.floor(tableBytes / DIRTY_PAGE_METADATA_BYTES)),
  );
  let dirtyCount = dirtyPages * writeBackCount;
  for (const count of swapDirtyPages) dirtyCount += count;
  const tablesBytes = dirtyCount * DIRTY_PAGE_METADATA_BYTES + needs.dirtyObjectBytes;
  const writersBytes = writerCount * (writerBytes + WRITE_BACK_BYTES);
  const fixedBytes = bufferBytes + writersBytes + bodyBytes + tablesBytes;
  const stackBytes = Math.floor(memoryBytes - fixedBytes - needs.takenBytes);
  const poolBytes = Math.floor(bufferBytes - connectionCount * WRITER_BYTES);
  const counts = { connectionCount, dirtyPages, swapDirtyPages };
  return { stackBytes, poolBytes, writerBytes, bodyBytes, ...counts };
}

function clamp(value: number, least: number, most: number): number {
  return Math.floor(Math.min(most, Math.max(least, value)));
}
