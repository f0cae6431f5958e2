/**
 * A disk cut into pieces for work that goes on at several of them at once. What is known to be zeros
 * or not to matter comes as one piece however long it is, so that a sparse disk costs nothing.
 */

import type { ImageExtent } from '../../image/below.ts';
import type { BlockImage } from '../../image/image.ts';
import { roundUp } from '../../lib/round-up.ts';

/** Of an image: content to be looked at, zeros that need not be read, or what is of no interest. */
export type PieceKind = 'data' | 'zero' | 'skipped';

export interface Piece {
  readonly kind: PieceKind;
  /** In the order of the disk, from 0, without gaps. */
  readonly index: number;
  readonly offset: number;
  readonly length: number;
}

export interface PiecesOptions {
  /** Bytes to be gone through, from 0. */
  readonly sizeBytes: number;
  /** Content comes in pieces of at most so many bytes, a multiple of `alignBytes`. */
  readonly pieceBytes: number;
  /** Pieces begin at multiples of it; so where less than that is zero, it counts as content. */
  readonly alignBytes: number;
  /** The run at an offset, of at most `length` bytes. */
  readonly look: (offset: number, length: number) => Promise<{ kind: PieceKind; length: number }>;
}

/** Asked for at once; formats answer with as much as they know from one table. */
const LOOK_BYTES_MAX = 2 ** 40;

/** Gives out pieces to whoever asks for the next, in order. */
export class Pieces {
  readonly #options: PiecesOptions;
  #offset = 0;
  #index = 0;
  /** The last run that was looked at. */
  #known = { kind: 'data' as PieceKind, offset: 0, end: 0 };
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: PiecesOptions) {
    this.#options = options;
  }

  /** Undefined at the end. */
  next(): Promise<Piece | undefined> {
    const found = this.#turn.then(() => this.#find());
    this.#turn = found.catch(() => undefined);
    return found;
  }

  async #find(): Promise<Piece | undefined> {
    const offset = this.#offset;
    const { sizeBytes } = this.#options;
    if (offset >= sizeBytes) return undefined;
    const first = await this.#run(offset);
    const length = first.kind === 'data' ? await this.#dataBytes(first.length) : first.length;
    this.#offset = offset + length;
    return { kind: first.kind, index: this.#index++, offset, length };
  }

  /** The run at `offset`, as far as all of its aligned blocks are of one kind. */
  async #run(offset: number): Promise<{ kind: PieceKind; length: number }> {
    const { sizeBytes, alignBytes } = this.#options;
    let kind: PieceKind | undefined;
    let length = 0;
    while (offset + length < sizeBytes) {
      const left = Math.min(sizeBytes - offset - length, LOOK_BYTES_MAX);
      const run = await this.#look(offset + length, left);
      kind ??= run.kind;
      if (run.kind !== kind) break;
      length += run.length;
      if (kind === 'data') break;
    }
    if (kind === undefined || kind === 'data') return { kind: 'data', length };
    if (offset + length >= sizeBytes) return { kind, length };
    const whole = length - (length % alignBytes);
    if (whole > 0) return { kind, length: whole };
    return { kind: 'data', length };
  }

  /** Looks behind what is known: a long run is asked for once, and not for each of its pieces. */
  async #look(offset: number, length: number): Promise<{ kind: PieceKind; length: number }> {
    if (offset < this.#known.offset || offset >= this.#known.end) {
      const { kind, length: found } = await this.#options.look(offset, length);
      this.#known = { kind, offset, end: offset + found };
    }
    const { kind, end } = this.#known;
    return { kind, length: Math.min(length, end - offset) };
  }

  /**
   * How long a piece of content is that begins where a run of `length` bytes does. Runs in disorder
   * are short, and many look-ups take longer than reading: the second run decides.
   */
  async #dataBytes(length: number): Promise<number> {
    const { sizeBytes, pieceBytes, alignBytes } = this.#options;
    const offset = this.#offset;
    const end = Math.min(sizeBytes, offset - (offset % pieceBytes) + pieceBytes);
    const reached = roundUp(offset + length, alignBytes);
    if (reached >= end) return end - offset;
    const run = await this.#look(reached, end - reached);
    return (run.kind === 'data' ? end : reached) - offset;
  }
}

/** What an extent is for who only wants the content. */
export function kindOf({ isZero }: ImageExtent): PieceKind {
  return isZero ? 'zero' : 'data';
}

/** Looks at an image, behind whose end there are zeros. */
export async function lookAt(image: BlockImage, offset: number, length: number) {
  const inside = image.virtualSizeBytes - offset;
  if (inside <= 0) return { kind: 'zero' as const, length };
  const extent = await image.extent(offset, Math.min(length, inside));
  return { kind: kindOf(extent), length: extent.length };
}

/** Reads from an image into the first `length` bytes of `buffer`; behind its end there are zeros. */
export async function readPiece(
  image: BlockImage,
  buffer: Buffer,
  length: number,
  offset: number,
): Promise<void> {
  const inside = Math.max(0, Math.min(length, image.virtualSizeBytes - offset));
  if (inside < length) buffer.fill(0, inside, length);
  if (inside > 0) await image.read(buffer, 0, inside, offset);
}
