/** Whether two images hold the same disk. */

import type { BlockImage } from '../image/image.ts';
import { alignedBuffer } from '../lib/aligned-buffer.ts';
import { Breath } from './breath.ts';
import { workThrough } from './copy/parallel.ts';
import { lookAt, type Piece, Pieces, readPiece } from './copy/pieces.ts';
import type { WorkOptions } from './progress.ts';

export interface CompareOptions extends WorkOptions {
  /** Both stay the caller's. */
  readonly images: readonly [BlockImage, BlockImage];
  /** Sizes have to be the same, and where something is allocated too. Default false. */
  readonly isStrict?: boolean | undefined;
  /** Ranges under way at once. Default 8. */
  readonly threads?: number | undefined;
}

/** Where the first difference is, and of what. */
export interface Difference {
  readonly kind: 'content' | 'size' | 'allocation';
  /** Byte of the disk; of different sizes where the smaller one ends. */
  readonly offset: number;
}

export interface Comparison {
  readonly isSame: boolean;
  readonly difference: Difference | undefined;
  /** Also where they count as the same, because the rest of the larger one is zeros. */
  readonly hasSameSize: boolean;
}

const THREADS_DEFAULT = 8;
const PIECE_BYTES = 1024 * 1024;
const ALIGN_BYTES = 4096;

/** Compares what guests would read; behind the end of the smaller image there are zeros. */
export async function compareImages(options: CompareOptions): Promise<Comparison> {
  const [one, other] = options.images;
  const sizes = [one.virtualSizeBytes, other.virtualSizeBytes] as const;
  const hasSameSize = sizes[0] === sizes[1];
  const result = (difference: Difference | undefined): Comparison => {
    return { isSame: difference === undefined, difference, hasSameSize };
  };
  if (options.isStrict === true) {
    if (!hasSameSize) return result({ kind: 'size', offset: Math.min(...sizes) });
    const offset = await differenceOfAllocation(options);
    const content = await differenceOfContent(options, offset ?? sizes[0]);
    if (content !== undefined) return result({ kind: 'content', offset: content });
    return result(offset === undefined ? undefined : { kind: 'allocation', offset });
  }
  const offset = await differenceOfContent(options, Math.max(...sizes));
  return result(offset === undefined ? undefined : { kind: 'content', offset });
}

/** The first byte that differs in front of `sizeBytes`. */
async function differenceOfContent(
  options: CompareOptions,
  sizeBytes: number,
): Promise<number | undefined> {
  const { images, threads = THREADS_DEFAULT, onProgress, signal } = options;
  let first: number | undefined;
  await workThrough({
    ...{ onProgress, signal, totalBytes: sizeBytes },
    workers: Math.min(threads, Math.ceil(sizeBytes / PIECE_BYTES)),
    pieces: new Pieces({
      ...{ sizeBytes, pieceBytes: PIECE_BYTES, alignBytes: ALIGN_BYTES },
      look: async (offset, length) => {
        const [one, other] = await bothEnd(
          lookAt(images[0], offset, length),
          lookAt(images[1], offset, length),
        );
        const kind = one.kind === 'zero' && other.kind === 'zero' ? 'zero' : 'data';
        return { kind, length: Math.min(one.length, other.length) };
      },
    }),
    newWorker: () => {
      const buffers = images.map(() => alignedBuffer(PIECE_BYTES));
      return async (piece) => {
        const found = await comparePiece(piece, images, buffers);
        if (found !== undefined) first = Math.min(first ?? found, found);
        return found === undefined;
      };
    },
  });
  return first;
}

async function comparePiece(
  { kind, offset, length }: Piece,
  images: CompareOptions['images'],
  [one, other]: readonly Buffer[],
): Promise<number | undefined> {
  if (kind !== 'data' || one === undefined || other === undefined) return undefined;
  await bothEnd(
    readPiece(images[0], one, length, offset),
    readPiece(images[1], other, length, offset),
  );
  if (one.compare(other, 0, length, 0, length) === 0) return undefined;
  for (let at = 0; at < length; at++) if (one[at] !== other[at]) return offset + at;
  return undefined;
}

/** Where first one image has something allocated and the other has not; neither is read. */
async function differenceOfAllocation(options: CompareOptions): Promise<number | undefined> {
  const { images, signal } = options;
  const sizeBytes = images[0].virtualSizeBytes;
  // A zero cluster takes no space, but hides what is below. Formats differ in what they have of that.
  const hasSameFormat = images[0].formatName === images[1].formatName;
  const breath = new Breath();
  for (let offset = 0; offset < sizeBytes; ) {
    await breath.draw();
    signal?.throwIfAborted();
    const left = sizeBytes - offset;
    const [one, other] = await bothEnd(
      images[0].extent(offset, left),
      images[1].extent(offset, left),
    );
    if (one.isHole !== other.isHole || one.isZero !== other.isZero) return offset;
    if (hasSameFormat && one.isAllocated !== other.isAllocated) return offset;
    offset += Math.min(one.length, other.length);
  }
  return undefined;
}

/** Waits for both, then throws the first failure: no buffer may be in use after it. */
async function bothEnd<One, Other>(a: Promise<One>, b: Promise<Other>): Promise<[One, Other]> {
  const [one, other] = await Promise.allSettled([a, b]);
  if (one.status === 'rejected') throw one.reason;
  if (other.status === 'rejected') throw other.reason;
  return [one.value, other.value];
}
