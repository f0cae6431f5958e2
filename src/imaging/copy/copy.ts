/** Copying what a guest reads of one image into another, in parallel. */

import type { ImageExtent } from '../../image/below.ts';
import type { BlockImage } from '../../image/image.ts';
import { alignedBuffer } from '../../lib/aligned-buffer.ts';
import type { WorkOptions } from '../progress.ts';
import { CopyWorker } from './copy-worker.ts';
import { workThrough } from './parallel.ts';
import { Pieces, type PiecesOptions } from './pieces.ts';
import { Turns } from './turns.ts';

export interface CopyOptions extends WorkOptions {
  readonly source: BlockImage;
  /** As large as the source, at least up to a sector. */
  readonly target: BlockImage;
  /** What shows through the target, or will: what is the same there is not written. */
  readonly base?: BlockImage | undefined;
  /** Which of the source is to be copied, and what is known to be zeros. */
  readonly look: PiecesOptions['look'];
  /** All of the target reads as zeros. Default false. */
  readonly isBlank?: boolean | undefined;
  /** Only where the target can, and then whole units of it. Default false. */
  readonly isCompressed?: boolean | undefined;
  /** Zeros are written as content, and not as zeros or not at all. Default false. */
  readonly keepsZeroes?: boolean | undefined;
  /** What is looked at for zeros as one, if the target's unit is not more. Default 4096. */
  readonly sparseBytes?: number | undefined;
  /** Ranges under way at once, 1 to 64. Default 8. */
  readonly threads?: number | undefined;
}

const THREADS_DEFAULT = 8;
const SPARSE_BYTES_DEFAULT = 4096;
/** Read and written at once. */
const PIECE_BYTES = 2 * 1024 * 1024;
/** Larger units are filled up by the format. */
const BLOCK_BYTES_MAX = 2 * 1024 * 1024;

/** Answers how many bytes were written as content; nothing is synced. */
export async function copyDisk(options: CopyOptions): Promise<number> {
  const { source, target, threads = THREADS_DEFAULT, isCompressed = false } = options;
  const { sparseBytes = SPARSE_BYTES_DEFAULT, keepsZeroes = false, isBlank = false } = options;
  const unitBytes = isCompressed ? target.unitBytes : Math.min(target.unitBytes, BLOCK_BYTES_MAX);
  const blockBytes = Math.max(unitBytes, Math.min(powerOfTwo(sparseBytes), PIECE_BYTES));
  const pieceBytes = Math.max(PIECE_BYTES, blockBytes);
  const sizeBytes = source.virtualSizeBytes;
  const workers = Math.min(threads, Math.ceil(sizeBytes / pieceBytes));
  const buffers = piecesOf(workers, pieceBytes);
  const baseBuffers = options.base === undefined ? [] : piecesOf(workers, pieceBytes);
  const turns = new Turns();
  const copied = { bytes: 0 };
  await workThrough({
    ...{ onProgress: options.onProgress, signal: options.signal, totalBytes: sizeBytes },
    workers,
    pieces: new Pieces({ sizeBytes, pieceBytes, alignBytes: blockBytes, look: options.look }),
    newWorker: () => {
      const worker = new CopyWorker({
        ...{ source, target, base: options.base, turns, copied },
        ...{ isBlank, isCompressed, keepsZeroes, blockBytes },
        ...{ buffer: buffers.pop() ?? alignedBuffer(pieceBytes), baseBuffer: baseBuffers.pop() },
      });
      return (piece) => worker.copy(piece);
    },
  });
  return copied.bytes;
}

/**
 * Tells how many bytes of an extent of `image` show what is below both it and `base` in the same
 * place: one file, or more.
 */
export function newSharing(image: BlockImage, base: BlockImage) {
  let shared: BlockImage | undefined = image;
  let depth = 0;
  while (shared !== undefined && shared.medium !== base.medium) {
    shared = shared.backing;
    depth++;
  }
  const sharedBytes = shared?.virtualSizeBytes ?? 0;
  return (extent: ImageExtent, offset: number): number => {
    if (extent.depth < depth) return 0;
    return Math.max(0, Math.min(extent.length, sharedBytes - offset));
  };
}

/** Buffers in one piece of memory: each piece of its own costs the system as much. */
function piecesOf(count: number, pieceBytes: number): Buffer[] {
  const all = alignedBuffer(count * pieceBytes);
  return Array.from({ length: count }, (_, index) => {
    return all.subarray(index * pieceBytes, (index + 1) * pieceBytes);
  });
}

/** At least as large as `bytes`, and as what can be written without reading around it. */
function powerOfTwo(bytes: number): number {
  let power = SPARSE_BYTES_DEFAULT;
  while (power < bytes) power *= 2;
  return power;
}
