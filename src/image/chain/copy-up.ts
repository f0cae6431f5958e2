/** Copying into an image what shows through from the image below it, so that it can stand alone. */

import type { ImageReads } from '../data/image-reads.ts';
import { type ImageWrites, zeroes } from '../data/image-writes.ts';
import { ParallelRuns } from '../data/parallel-runs.ts';
import type { WritableFormat, WriteTarget } from '../format.ts';
import type { Below } from './chain.ts';

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
    try {
      for (let at = offset; at < offset + length && !runs.hasFailed; ) {
        const { bytes, isWanted } = await this.#next(at, offset + length - at);
        if (!isWanted) {
          at += bytes;
          continue;
        }
        const target = await this.#format.allocate(at, bytes);
        const copied = Math.min(target.length, bytes);
        await runs.add(this.#copy(target, copied, at));
        at += copied;
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

  async #copy(target: WriteTarget, bytes: number, at: number): Promise<void> {
    const scratch = await this.#reads.scratch.take(bytes, zeroes);
    try {
      const outcome = await this.#fill(target, scratch, bytes, at);
      if (outcome === 'wanted') {
        await this.#writes.writeTarget(target, scratch, 0, bytes, at);
        this.#copiedBytes += bytes;
        return;
      }
      target.abort?.();
      if (outcome === 'nothing') return;
    } finally {
      this.#reads.scratch.give(scratch);
    }
    await this.run(at, bytes);
  }

  /**
   * What is to be copied, if anything: the guest may have written all of it meanwhile, or there are
   * zeros. Where a part of it was written the rest is to be looked at anew.
   */
  async #fill(
    target: WriteTarget,
    scratch: Buffer,
    bytes: number,
    at: number,
  ): Promise<'wanted' | 'nothing' | 'changed'> {
    try {
      // Whoever holds the space for a hole is the only one who can fill it.
      const run = await this.#format.map(at, bytes);
      if (run.length < bytes) return 'changed';
      if (run.kind !== 'hole' || target.commit === undefined) return 'nothing';
      await this.#reads.read(scratch, 0, bytes, at);
      return isZero(scratch, bytes) ? 'nothing' : 'wanted';
    } catch (cause) {
      target.abort?.();
      throw cause;
    }
  }
}

function isZero(buffer: Buffer, length: number): boolean {
  for (let at = 0; at < length; at += zeroes.length) {
    const end = Math.min(length, at + zeroes.length);
    if (buffer.compare(zeroes, 0, end - at, at, end) !== 0) return false;
  }
  return true;
}
