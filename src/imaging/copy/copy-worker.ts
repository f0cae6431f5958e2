/** Copying one piece after the other; several workers share an image. */

import { isZero } from '../../image/data/zeroes.ts';
import type { BlockImage } from '../../image/image.ts';
import { roundUp } from '../../lib/round-up.ts';
import { type BlockUse, forEachRun } from './block-runs.ts';
import { lookAt, type Piece, readPiece } from './pieces.ts';
import type { Turns } from './turns.ts';

export interface CopyWorkerOptions {
  readonly source: BlockImage;
  /** At least as large as the source, or smaller by less than a sector. */
  readonly target: BlockImage;
  /** What shows through the new image. */
  readonly base: BlockImage | undefined;
  /** Writes are begun in the order of the disk: files are then read in one go later. */
  readonly turns: Turns;
  /** Zeros are there already. */
  readonly isBlank: boolean;
  /** Zeros are written like anything else. */
  readonly keepsZeroes: boolean;
  readonly isCompressed: boolean;
  /** What is written is made of whole blocks, where the disk has them. */
  readonly blockBytes: number;
  /** Room for the longest piece of content, the worker's own. */
  readonly buffer: Buffer;
  /** The same for what the base has in its place; only where there is one. */
  readonly baseBuffer: Buffer | undefined;
  /** Counts what was written as content. */
  readonly copied: { bytes: number };
}

export class CopyWorker {
  readonly #options: CopyWorkerOptions;
  readonly #buffer: Buffer;
  readonly #baseBuffer: Buffer | undefined;

  constructor(options: CopyWorkerOptions) {
    this.#options = options;
    this.#buffer = options.buffer;
    this.#baseBuffer = options.baseBuffer;
  }

  /** Rejects when nothing of it is under way any more; else there is always more to do. */
  async copy(piece: Piece): Promise<boolean> {
    const { turns } = this.#options;
    let failure: { readonly cause: unknown } | undefined;
    let writes: Promise<void>[] = [];
    try {
      if (piece.kind === 'data') await this.#read(piece);
    } catch (cause) {
      failure = { cause };
    }
    const turn = turns.wait(piece.index);
    if (turn !== undefined) await turn;
    if (failure === undefined) writes = this.#begin(piece);
    turns.pass();
    for (const result of await Promise.allSettled(writes)) {
      if (result.status === 'rejected') failure ??= { cause: result.reason };
    }
    if (failure !== undefined) throw failure.cause;
    return true;
  }

  async #read({ offset, length }: Piece): Promise<void> {
    const { source, base } = this.#options;
    const buffer = this.#buffer;
    await source.read(buffer, 0, length, offset);
    if (base === undefined || this.#baseBuffer === undefined) return;
    await readPiece(base, this.#baseBuffer, length, offset);
  }

  /** Begins all writes of the piece, without waiting for any. */
  #begin({ kind, offset, length }: Piece): Promise<void>[] {
    const { isBlank } = this.#options;
    if (kind === 'skipped' || (kind === 'zero' && isBlank)) return [];
    if (kind === 'zero') return [this.#zero(offset, length)];
    const writes: Promise<void>[] = [];
    forEachRun(
      length,
      this.#options.blockBytes,
      (at, bytes) => this.#useOf(at, bytes),
      (use, at, bytes) => {
        if (use === 'write') this.#write(writes, offset, at, bytes);
        else writes.push(this.#zero(offset + at, bytes));
      },
    );
    return writes;
  }

  #useOf(at: number, bytes: number): BlockUse {
    const { keepsZeroes, isBlank } = this.#options;
    const below = this.#baseBuffer;
    const isThere =
      below !== undefined && this.#buffer.compare(below, at, at + bytes, at, at + bytes) === 0;
    if (isThere) return 'leave';
    if (keepsZeroes || !isZero(this.#buffer, at, bytes)) return 'write';
    return isBlank ? 'leave' : 'zero';
  }

  #write(writes: Promise<void>[], offset: number, at: number, bytes: number): void {
    const { target, isCompressed, blockBytes, copied } = this.#options;
    copied.bytes += bytes;
    if (!isCompressed) {
      writes.push(target.write(this.#buffer, at, bytes, offset + at));
      return;
    }
    const end = at + bytes;
    // Behind the end of the disk a unit is filled up with zeros.
    const unitEnd = roundUp(end, target.unitBytes);
    this.#buffer.fill(0, end, unitEnd);
    for (let unit = at; unit < end; unit += target.unitBytes) {
      const content = this.#buffer.subarray(unit, unit + target.unitBytes);
      const isNews = blockBytes === target.unitBytes || !isZero(content, 0, content.length);
      if (isNews) writes.push(target.writeCompressed(offset + unit, content));
    }
  }

  /** Only where there is something else: zeros of a format take tables. */
  async #zero(offset: number, length: number): Promise<void> {
    const { target, base = target } = this.#options;
    for (let done = 0; done < length; ) {
      const run = await lookAt(base, offset + done, length - done);
      const bytes = Math.min(run.length, length - done);
      if (run.kind !== 'zero') await target.writeZeroes(offset + done, bytes, true);
      done += bytes;
    }
  }
}
