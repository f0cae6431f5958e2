/**
 * Changing an image: each run of a write goes to where its format says, over what is there or into
 * new space, which is filled up with what the guest reads around the run.
 */

import { TmemError } from '../../lib/errors.ts';
import { roundUp } from '../../lib/round-up.ts';
import { settleAll } from '../../lib/settle-all.ts';
import type { WritableFormat, WriteTarget } from '../format.ts';
import { EncipheredWrites } from './enciphered.ts';
import type { ImageReads } from './image-reads.ts';
import { ParallelRuns } from './parallel-runs.ts';
import { zeroes } from './zeroes.ts';

/** A run no longer than this is read along with what is around it, since one read costs less than two. */
const READ_OVER_BYTES_MAX = 16 * 1024;

/** Ranges lie inside the image, and requests are counted and in an epoch: the caller sees to it. */
export class ImageWrites {
  readonly #format: WritableFormat;
  readonly #reads: ImageReads;
  readonly #enciphered: EncipheredWrites;

  constructor(format: WritableFormat, reads: ImageReads) {
    this.#format = format;
    this.#reads = reads;
    this.#enciphered = new EncipheredWrites(reads.scratch);
  }

  /** After a rejection nothing touches the buffer any more. */
  write(
    buffer: Buffer,
    bufferOffset: number,
    length: number,
    offset: number,
  ): Promise<void> | undefined {
    if (length === 0) return undefined;
    const target = this.#format.allocate(offset, length);
    if (target instanceof Promise) {
      return target.then((late) => this.#writeFirst(late, buffer, bufferOffset, length, offset));
    }
    return this.#writeFirst(target, buffer, bufferOffset, length, offset);
  }

  /** Most writes are one run. */
  #writeFirst(
    target: WriteTarget,
    buffer: Buffer,
    bufferOffset: number,
    length: number,
    offset: number,
  ): Promise<void> {
    if (target.length < length) {
      return this.#writeRuns(target, buffer, bufferOffset, length, offset);
    }
    if (!isPlain(target)) return this.writeTarget(target, buffer, bufferOffset, length, offset);
    return target.storage.write(buffer, bufferOffset, length, target.storageOffset);
  }

  /**
   * Whole units are the format's to zero; what is left at the ends is written, unless it reads as
   * zeros anyway. With `mustBeFast` it rejects as `unsupported` where there is nothing but ends.
   */
  async writeZeroes(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast: boolean,
  ): Promise<void> {
    const { start, end } = this.#wholeUnits(offset, length);
    if (start < end) {
      const isDone = await this.#format.zero(start, end - start, mayDiscard, mustBeFast);
      if (isDone) this.#reads.units.drop(start, end - start);
      else if (mustBeFast) throw this.#notFast();
      else await this.#writeZeroRange(start, end - start);
    } else if (mustBeFast && length > 0) {
      throw this.#notFast();
    }
    await this.#writeZeroRange(offset, start - offset);
    await this.#writeZeroRange(end, offset + length - end);
  }

  /** Whole units alone: what is left at the ends keeps what it has. */
  async discard(offset: number, length: number): Promise<void> {
    const { start, end } = this.#wholeUnits(offset, length);
    if (start >= end) return;
    await this.#format.discard(start, end - start);
    this.#reads.units.drop(start, end - start);
  }

  /** Stores a whole unit compressed, as `BlockImage.writeCompressed`. */
  async writeCompressed(offset: number, unit: Buffer): Promise<void> {
    const { formatName, unitBytes } = this.#format;
    if (this.#format.writeCompressed === undefined || this.#format.compression === undefined) {
      const advice = 'write plainly, or choose another format';
      throw new TmemError('unsupported', `this ${formatName} image cannot compress; ${advice}`);
    }
    if (offset % unitBytes !== 0 || unit.length !== unitBytes) {
      throw new Error(`${formatName}: ${unit.length} bytes at ${offset} are no unit`);
    }
    await this.#format.writeCompressed(offset, unit);
    this.#reads.units.drop(offset, unitBytes);
  }

  /** Changes the size of the disk; what was decompressed of it is forgotten. */
  async resize(sizeBytes: number): Promise<void> {
    const oldBytes = this.#format.virtualSizeBytes;
    if (this.#format.resize === undefined) {
      const advice = 'convert it to another size';
      throw new TmemError(
        'unsupported',
        `cannot resize "${this.#format.storages[0]?.name}": ${this.#format.formatName} images have one size; ${advice}`,
      );
    }
    await this.#format.resize(sizeBytes);
    this.#reads.units.drop(0, Math.max(oldBytes, sizeBytes));
  }

  /** See `WritableFormat.checkMayDropBacking`. */
  checkMayDropBacking(): void {
    this.#format.checkMayDropBacking?.();
    if (this.#format.dropBacking !== undefined) return;
    const { formatName, storages } = this.#format;
    const advice = 'convert it to an image of its own';
    const what = `"${storages[0]?.name}" keeps its backing file, as all ${formatName} images do`;
    throw new TmemError('unsupported', `${what}; ${advice}`);
  }

  /** See `WritableFormat.dropBacking`. */
  async dropBacking(): Promise<void> {
    this.checkMayDropBacking();
    await this.#format.dropBacking?.();
  }

  /** Where the whole units of a range begin and end; the disk's end counts as that of a unit. */
  #wholeUnits(offset: number, length: number): { start: number; end: number } {
    const { unitBytes, virtualSizeBytes } = this.#format;
    const rangeEnd = offset + length;
    const start = Math.min(roundUp(offset, unitBytes), rangeEnd);
    const isAtEnd = rangeEnd === virtualSizeBytes;
    const end = isAtEnd ? rangeEnd : Math.floor(rangeEnd / unitBytes) * unitBytes;
    return { start, end: Math.max(start, end) };
  }

  async #writeZeroRange(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const bytesMax = Math.min(length - done, zeroes.length - (at % zeroes.length));
      const mapped = this.#format.map(at, bytesMax);
      const run = mapped instanceof Promise ? await mapped : mapped;
      const zeroBytes = this.#reads.zeroBytes(run, at, bytesMax);
      const bytes = zeroBytes > 0 ? zeroBytes : Math.min(run.length, bytesMax);
      if (zeroBytes === 0) await this.write(zeroes, 0, bytes, at);
      done += bytes;
    }
  }

  async #writeRuns(
    first: WriteTarget,
    buffer: Buffer,
    bufferOffset: number,
    length: number,
    offset: number,
  ): Promise<void> {
    const runs = new ParallelRuns();
    try {
      let allocated: WriteTarget | Promise<WriteTarget> = first;
      for (let done = 0; done < length && !runs.hasFailed; ) {
        if (done > 0) allocated = this.#format.allocate(offset + done, length - done);
        const target = allocated instanceof Promise ? await allocated : allocated;
        if (target.length < 1) throw new Error(`${this.#format.formatName} allocated nothing`);
        const bytes = Math.min(target.length, length - done);
        const room = runs.add(
          this.writeTarget(target, buffer, bufferOffset + done, bytes, offset + done),
        );
        if (room !== undefined) await room;
        done += bytes;
      }
    } catch (cause) {
      return runs.endFailed(cause);
    }
    return runs.end();
  }

  /** Writes a run to where it goes, and commits or aborts that. */
  async writeTarget(
    target: WriteTarget,
    buffer: Buffer,
    at: number,
    length: number,
    offset: number,
  ): Promise<void> {
    try {
      await this.#store(target, buffer, at, length, offset);
    } catch (cause) {
      target.abort?.();
      throw cause;
    }
    if (target.commit === undefined) return;
    await target.commit();
    const { headBytes, tailBytes } = target;
    this.#reads.units.drop(offset - headBytes, headBytes + length + tailBytes);
  }

  #store(
    target: WriteTarget,
    buffer: Buffer,
    at: number,
    length: number,
    offset: number,
  ): Promise<void> {
    const { storage, storageOffset, cipher, headBytes, tailBytes } = target;
    if (headBytes > 0 || tailBytes > 0) {
      if (target.length !== length) throw new Error('a run to fill up is longer than was asked');
      return this.#storeFilled(target, buffer, at, offset);
    }
    if (cipher === undefined) return storage.write(buffer, at, length, storageOffset);
    const place = { storage, storageOffset, cipher, guestOffset: offset };
    return this.#enciphered.write(place, buffer, at, length);
  }

  /** Writes new space as one: the run, and what the guest reads around it now. */
  async #storeFilled(
    target: WriteTarget,
    buffer: Buffer,
    at: number,
    offset: number,
  ): Promise<void> {
    const { storage, storageOffset, length, headBytes, tailBytes, cipher } = target;
    const bytes = headBytes + length + tailBytes;
    const start = offset - headBytes;
    const taken = this.#reads.scratch.take(bytes, buffer);
    const scratch = taken instanceof Promise ? await taken : taken;
    try {
      if (!(await this.#fillOver(scratch, target, offset))) {
        await settleAll([
          this.#fill(scratch, 0, headBytes, start),
          this.#fill(scratch, headBytes + length, tailBytes, offset + length),
        ]);
      }
      buffer.copy(scratch, headBytes, at, at + length);
      cipher?.encrypt(scratch, 0, bytes, storageOffset, start);
      await storage.write(scratch, 0, bytes, storageOffset);
    } finally {
      this.#reads.scratch.give(scratch);
    }
  }

  /**
   * Reads all that is written, where that is the quicker way to its head and tail. False where it is
   * not, or fails: the bytes that cannot be read may be those that are written over.
   */
  async #fillOver(scratch: Buffer, target: WriteTarget, offset: number): Promise<boolean> {
    const { length, headBytes, tailBytes } = target;
    if (headBytes === 0 || tailBytes === 0 || length > READ_OVER_BYTES_MAX) return false;
    try {
      await this.#fill(scratch, 0, headBytes + length + tailBytes, offset - headBytes);
      return true;
    } catch {
      return false;
    }
  }

  /** Reads what the guest reads; behind the end of its disk there are zeros. */
  #fill(scratch: Buffer, at: number, length: number, offset: number): Promise<void> | undefined {
    const inside = Math.max(0, Math.min(length, this.#format.virtualSizeBytes - offset));
    if (inside < length) scratch.fill(0, at + inside, at + length);
    return this.#reads.read(scratch, at, inside, offset);
  }

  #notFast(): TmemError {
    const { formatName, unitBytes } = this.#format;
    const advice = 'write zeros instead';
    const what = `${formatName} images have no fast zeroes of less than ${unitBytes} bytes here`;
    return new TmemError('unsupported', `${what}; ${advice}`);
  }
}

/** Whether the write is one of the buffer as it is, over what is there. */
function isPlain({ headBytes, tailBytes, cipher, commit }: WriteTarget): boolean {
  return headBytes === 0 && tailBytes === 0 && cipher === undefined && commit === undefined;
}
