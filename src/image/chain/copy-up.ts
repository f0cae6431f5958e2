/** Copying into an image what shows through from the image below it, so that it can stand alone. */

import { roundUp } from '../../lib/round-up.ts';
import type { Below } from '../below.ts';
import type { ImageReads } from '../data/image-reads.ts';
import type { ImageWrites } from '../data/image-writes.ts';
import { ParallelRuns } from '../data/parallel-runs.ts';
import { isZero, zeroes } from '../data/zeroes.ts';
import type { WritableFormat, WriteTarget } from '../format.ts';

/** Read from below at a time, unless a unit is larger. */
const PIECE_BYTES = 256 * 1024;

/** A stretch of the disk, bytes. */
interface Range {
  readonly offset: number;
  readonly length: number;
}

/** One copying of a range; see `BlockImage.copyUp`. */
export class CopyUp {
  readonly #format: WritableFormat;
  readonly #below: Below;
  readonly #reads: ImageReads;
  readonly #writes: ImageWrites;
  #copiedBytes = 0;

  constructor(format: WritableFormat, below: Below, reads: ImageReads, writes: ImageWrites) {
    this.#format = format;
    this.#below = below;
    this.#reads = reads;
    this.#writes = writes;
  }

  /** Answers how many bytes were copied. */
  async run(offset: number, length: number): Promise<number> {
    const runs = new ParallelRuns();
    const pieceBytes = Math.max(PIECE_BYTES, this.#format.unitBytes);
    try {
      for (let at = offset; at < offset + length && !runs.hasFailed; ) {
        const { bytes, isWanted } = await this.#next(at, offset + length - at);
        if (!isWanted) {
          at += bytes;
          continue;
        }
        const count = Math.min(bytes, pieceBytes - (at % pieceBytes));
        await runs.add(this.#copy(at, count));
        at += count;
      }
    } catch (cause) {
      return runs.endFailed(cause);
    }
    await runs.end();
    return this.#copiedBytes;
  }

  /** The run at `at`, and whether something other than zeros may show through there. */
  async #next(at: number, length: number): Promise<{ bytes: number; isWanted: boolean }> {
    const run = await this.#format.map(at, length);
    const bytes = Math.min(run.length, length);
    const backedBytes = run.kind === 'hole' ? this.#reads.backedBytes(at, bytes) : 0;
    const backing = this.#below.image;
    if (backing === undefined || backedBytes === 0) return { bytes, isWanted: false };
    const extent = await this.#below.use(backing.extent(at, backedBytes));
    return { bytes: extent.length, isWanted: !extent.isZero };
  }

  /**
   * Copies a piece that lies inside the image below. It is read before there is space for it: units of
   * zeros get none. What is below never changes.
   */
  async #copy(at: number, length: number): Promise<void> {
    const backing = this.#below.image;
    if (backing === undefined) return;
    const changed: Range[] = [];
    const scratch = await this.#reads.copyScratch.take(length, zeroes);
    try {
      await this.#below.use(backing.read(scratch, 0, length, at));
      for (const range of this.#wantedIn(scratch, at, length)) {
        await this.#write(scratch, at, range, changed);
      }
    } finally {
      this.#reads.copyScratch.give(scratch);
    }
    for (const range of changed) await this.run(range.offset, range.length);
  }

  /** Runs of units of which not all is zeros. */
  #wantedIn(scratch: Buffer, at: number, length: number): Range[] {
    const { unitBytes } = this.#format;
    const ranges: Range[] = [];
    let start = at;
    for (let offset = at; offset < at + length; ) {
      const next = Math.min(at + length, roundUp(offset + 1, unitBytes));
      if (isZero(scratch, offset - at, next - offset)) {
        if (offset > start) ranges.push({ offset: start, length: offset - start });
        start = next;
      }
      offset = next;
    }
    if (at + length > start) ranges.push({ offset: start, length: at + length - start });
    return ranges;
  }

  /**
   * Writes a range of a piece that begins at `pieceAt`, unless the guest has written it meanwhile.
   * Where a part of it was written the rest goes to `changed`, to be looked at anew.
   */
  async #write(
    scratch: Buffer,
    pieceAt: number,
    { offset, length }: Range,
    changed: Range[],
  ): Promise<void> {
    for (let at = offset; at < offset + length; ) {
      const target = await this.#format.allocate(at, offset + length - at);
      const bytes = Math.min(target.length, offset + length - at);
      const state = await this.#stateOf(target, at, bytes);
      if (state === 'hole') {
        await this.#writes.writeTarget(target, scratch, at - pieceAt, bytes, at);
        this.#copiedBytes += bytes;
      } else {
        target.abort?.();
        if (state === 'mixed') changed.push({ offset: at, length: bytes });
      }
      at += bytes;
    }
  }

  /** Whoever holds the space for a hole is the only one who can fill it. */
  async #stateOf(
    target: WriteTarget,
    at: number,
    bytes: number,
  ): Promise<'hole' | 'mixed' | 'there'> {
    try {
      const run = await this.#format.map(at, bytes);
      if (run.length < bytes) return 'mixed';
      return run.kind === 'hole' && target.commit !== undefined ? 'hole' : 'there';
    } catch (cause) {
      target.abort?.();
      throw cause;
    }
  }
}
