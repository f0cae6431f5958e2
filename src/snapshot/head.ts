/**
 * What a snapshot begins with: a block that says what it is, and the table of its images. Both are
 * there a second time behind the segments, in the other order, so that the block is the last one of
 * the file: where one is damaged, or the end is cut off, the other one serves.
 *
 *     block · table · segments … · table · block
 *
 * Block: magic, version, checksum of both; then id, page size, segments, time of creation, images,
 * length and checksum of the table, checksum of all that; at 512 the mark of use. What lies before
 * the first checksum is the same in every version. Little-endian.
 */

import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { TmemError } from '../lib/errors.ts';
import {
  decodeImageTable,
  encodeImageTable,
  IMAGE_COUNT_MAX,
  type SavedImage,
  TABLE_BYTES_MAX,
} from './image-table.ts';
import { ID_BYTES, SEGMENT_BYTES } from './segment.ts';
import { decodeMark, encodeMark, MARK_BYTES, type UseMark } from './use-mark.ts';

/** Bytes of the block; segments lie at multiples of it. */
export const BLOCK_BYTES = 4096;
/** Where the mark of use lies in the block. */
const MARK_AT = 512;

const MAGIC = Buffer.from('tmemsnap', 'latin1');
const VERSION = 1;
const PREFIX_CHECKSUM_AT = 12;
const CHECKSUM_AT = 56;

/** All that a snapshot says of itself. */
export interface Head {
  readonly id: Buffer;
  readonly pageBytes: number;
  readonly segmentCount: number;
  /** Milliseconds since 1970. */
  readonly createdMs: number;
  readonly images: readonly SavedImage[];
  readonly mark: UseMark;
}

/** What can be wrong with a snapshot as a whole. */
export type HeadProblem = 'foreign' | 'version' | 'damaged';

/** Where things are in a snapshot, by the length of its table. */
export interface Layout {
  readonly segmentsAt: number;
  readonly tailTableAt: number;
  readonly tailBlockAt: number;
}

/** Where things are in a snapshot with a table of that length and so many segments. */
export function layoutOf(tableBytes: number, segmentCount: number): Layout {
  const segmentsAt = Math.ceil((BLOCK_BYTES + tableBytes) / BLOCK_BYTES) * BLOCK_BYTES;
  const tailTableAt = segmentsAt + segmentCount * SEGMENT_BYTES;
  return { segmentsAt, tailTableAt, tailBlockAt: tailTableAt + tableBytes };
}

/** Block and table as bytes. */
export function encodeHead(head: Head): { readonly block: Buffer; readonly table: Buffer } {
  const table = encodeImageTable(head.images);
  const block = Buffer.alloc(BLOCK_BYTES);
  MAGIC.copy(block);
  block.writeUInt32LE(VERSION, 8);
  block.writeUInt32LE(crc32(block.subarray(0, PREFIX_CHECKSUM_AT)), PREFIX_CHECKSUM_AT);
  head.id.copy(block, 16, 0, ID_BYTES);
  block.writeUInt32LE(head.pageBytes, 24);
  block.writeUInt32LE(head.segmentCount, 28);
  block.writeDoubleLE(head.createdMs, 32);
  block.writeUInt32LE(head.images.length, 40);
  block.writeUInt32LE(table.length, 44);
  block.writeUInt32LE(crc32(table), 48);
  block.writeUInt32LE(crc32(block.subarray(0, CHECKSUM_AT)), CHECKSUM_AT);
  encodeMark(head.mark, head.id).copy(block, MARK_AT);
  return { block, table };
}

/** A head that was found, the length of its table, and the places in the file of its marks. */
export interface FoundHead {
  readonly head: Head;
  readonly layout: Layout;
  readonly marksAt: readonly number[];
}

/** Finds the head of a snapshot of `sizeBytes` at either end of it, or says what is wrong. */
export async function readHead(
  handle: FileHandle,
  sizeBytes: number,
): Promise<FoundHead | HeadProblem> {
  const first = await readBytes(handle, 0, BLOCK_BYTES);
  const lastAt = sizeBytes - BLOCK_BYTES;
  const last = lastAt > 0 ? await readBytes(handle, lastAt, BLOCK_BYTES) : Buffer.alloc(0);
  const problems = [problemOf(first), problemOf(last)];
  for (const [i, block] of [first, last].entries()) {
    if (problems[i] !== undefined) continue;
    const tableBytes = block.readUInt32LE(44);
    const tableAt = i === 0 ? BLOCK_BYTES : lastAt - tableBytes;
    const images = tableAt < 0 ? undefined : await readTable(handle, tableAt, block);
    if (images === undefined) continue;
    return found(block, images, sizeBytes, tableBytes, [first, last]);
  }
  if (problems.includes('version')) return 'version';
  return problems.every((problem) => problem === 'foreign') ? 'foreign' : 'damaged';
}

/** What the user is told of a file at `path` with that problem. */
export function headFailure(path: string, problem: HeadProblem): TmemError {
  const sentences: Readonly<Record<HeadProblem, string>> = {
    foreign: 'it is something else; name another file, or one that does not exist yet',
    version: `it is of another version than ${VERSION}; remove it, or name another file`,
    damaged: 'its head is damaged at both ends; it will be replaced when the cache is saved',
  };
  const message = `cannot use "${path}" as a snapshot: ${sentences[problem]}`;
  return new TmemError('invalid', message, { context: { path } });
}

/** Fewer bytes where the file ends. */
async function readBytes(handle: FileHandle, at: number, length: number): Promise<Buffer> {
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, at);
  return buffer.subarray(0, bytesRead);
}

async function readTable(
  handle: FileHandle,
  tableAt: number,
  block: Buffer,
): Promise<readonly SavedImage[] | undefined> {
  const table = await readBytes(handle, tableAt, block.readUInt32LE(44));
  if (crc32(table) !== block.readUInt32LE(48)) return undefined;
  return decodeImageTable(table, block.readUInt32LE(40));
}

function found(
  block: Buffer,
  images: readonly SavedImage[],
  sizeBytes: number,
  tableBytes: number,
  blocks: readonly Buffer[],
): FoundHead {
  const id = block.subarray(16, 16 + ID_BYTES);
  const segmentCount = block.readUInt32LE(28);
  const layout = layoutOf(tableBytes, segmentCount);
  const isWhole = sizeBytes === layout.tailBlockAt + BLOCK_BYTES;
  const head = {
    id,
    pageBytes: block.readUInt32LE(24),
    segmentCount,
    createdMs: block.readDoubleLE(32),
    images,
    mark: markOf(blocks, id),
  };
  const marksAt = isWhole ? [MARK_AT, layout.tailBlockAt + MARK_AT] : [MARK_AT];
  return { head, layout, marksAt };
}

/** The mark that promises less, of those that are there; without one nothing is promised. */
function markOf(blocks: readonly Buffer[], id: Buffer): UseMark {
  const marks = blocks
    .filter((block) => block.length === BLOCK_BYTES)
    .map((block) => decodeMark(block.subarray(MARK_AT, MARK_AT + MARK_BYTES), id))
    .filter((mark) => mark !== undefined);
  return marks.find((mark) => !mark.isClean) ?? marks[0] ?? { isClean: false, bootId: '' };
}

function problemOf(block: Buffer): HeadProblem | undefined {
  if (!block.subarray(0, MAGIC.length).equals(MAGIC)) return 'foreign';
  if (block.length < BLOCK_BYTES) return 'damaged';
  const prefix = crc32(block.subarray(0, PREFIX_CHECKSUM_AT));
  if (block.readUInt32LE(PREFIX_CHECKSUM_AT) !== prefix) return 'damaged';
  if (block.readUInt32LE(8) !== VERSION) return 'version';
  const checksum = crc32(block.subarray(0, CHECKSUM_AT));
  if (block.readUInt32LE(CHECKSUM_AT) !== checksum) return 'damaged';
  const isBounded =
    block.readUInt32LE(40) <= IMAGE_COUNT_MAX && block.readUInt32LE(44) <= TABLE_BYTES_MAX;
  return isBounded ? undefined : 'damaged';
}
