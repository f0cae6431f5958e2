/** Reading an image: each run of a range from where its format, or its backing image, keeps it. */

import type { Below } from '../below.ts';
import type { CompressedUnit, ImageFormat, Mapping } from '../format.ts';
import { readPadded } from '../tables/read-padded.ts';
import { DecompressedUnits } from './decompressed-units.ts';
import { readEnciphered } from './enciphered.ts';
import type { ImageMemory } from './image-memory.ts';
import { ParallelRuns } from './parallel-runs.ts';
import { Scratch } from './scratch.ts';

/** Ranges lie inside the image, and requests are counted and in an epoch: the caller sees to it. */
export class ImageReads {
  readonly units: DecompressedUnits;
  /** For all that is done to the image. Who has some of it waits for no range that a write holds. */
  readonly scratch: Scratch;
  /**
   * For what is copied up, which waits for such ranges: whoever holds one may be waiting for
   * `scratch`, and never for this.
   */
  readonly copyScratch: Scratch;
  readonly #format: ImageFormat;
  readonly #below: Below;

  constructor(format: ImageFormat, below: Below, memory: ImageMemory) {
    this.units = new DecompressedUnits(memory.unitBytesMax);
    this.scratch = new Scratch(memory.scratchBytesMax);
    this.copyScratch = new Scratch(memory.copyBytesMax);
    this.#format = format;
    this.#below = below;
  }

  /** Undefined when all is done already; after a rejection nothing touches the buffer any more. */
  read(
    buffer: Buffer,
    bufferOffset: number,
    length: number,
    offset: number,
  ): Promise<void> | undefined {
    if (length === 0) return undefined;
    const run = this.#format.map(offset, length);
    if (run instanceof Promise || run.length < length) {
      return this.#readRuns(run, buffer, bufferOffset, length, offset);
    }
    return this.#readRun(run, buffer, bufferOffset, length, offset, true);
  }

  /** How many bytes of the run read as zeros, of at most `length`; 0 when that is not known. */
  zeroBytes(run: Mapping, offset: number, length: number): number {
    const bytes = Math.min(run.length, length);
    if (run.kind === 'zero') return bytes;
    if (run.kind !== 'hole') return 0;
    return this.backedBytes(offset, bytes) > 0 ? 0 : bytes;
  }

  /** How many of the bytes the backing image shows where this one has a hole. */
  backedBytes(offset: number, length: number): number {
    const end = this.#below.image?.virtualSizeBytes ?? 0;
    return Math.max(0, Math.min(length, end - offset));
  }

  async #readRuns(
    first: Mapping | Promise<Mapping>,
    buffer: Buffer,
    bufferOffset: number,
    length: number,
    offset: number,
  ): Promise<void> {
    const runs = new ParallelRuns();
    try {
      let mapped = first;
      for (let done = 0; done < length && !runs.hasFailed; ) {
        if (done > 0) mapped = this.#format.map(offset + done, length - done);
        const wasLate = mapped instanceof Promise;
        const run = mapped instanceof Promise ? await mapped : mapped;
        if (run.length < 1) throw new Error(`${this.#format.formatName} mapped an empty run`);
        const bytes = Math.min(run.length, length - done);
        const at = bufferOffset + done;
        const work = this.#readRun(run, buffer, at, bytes, offset + done, !wasLate);
        if (work !== undefined) {
          const room = runs.add(work);
          if (room !== undefined) await room;
        }
        done += bytes;
      }
    } catch (cause) {
      return runs.endFailed(cause);
    }
    return runs.end();
  }

  /** `isFresh` when the format has said it in this very turn of the event loop. */
  #readRun(
    run: Mapping,
    buffer: Buffer,
    at: number,
    length: number,
    offset: number,
    isFresh: boolean,
  ): Promise<void> | undefined {
    if (run.kind === 'data') {
      const { storage, storageOffset, cipher } = run;
      if (cipher === undefined) return readPadded(storage, buffer, at, length, storageOffset);
      const place = { storage, storageOffset, cipher, guestOffset: offset };
      return readEnciphered(place, buffer, at, length, this.scratch);
    }
    if (run.kind === 'compressed') {
      return this.#readCompressed(run.unit, buffer, at, length, offset, isFresh);
    }
    const backing = run.kind === 'hole' ? this.#below.image : undefined;
    const backedBytes = backing === undefined ? 0 : this.backedBytes(offset, length);
    if (backedBytes < length) buffer.fill(0, at + backedBytes, at + length);
    if (backing === undefined || backedBytes === 0) return undefined;
    return this.#below.use(backing.read(buffer, at, backedBytes, offset));
  }

  async #readCompressed(
    unit: CompressedUnit,
    buffer: Buffer,
    at: number,
    length: number,
    offset: number,
    isFresh: boolean,
  ): Promise<void> {
    const bytes = await (isFresh || this.#isStill(unit, offset, length)
      ? this.units.get(unit)
      : this.units.decompress(unit));
    const from = offset - unit.guestOffset;
    bytes.copy(buffer, at, from, from + length);
  }

  /** Whether the format says again, and at once, that the bytes at `offset` are in that unit. */
  #isStill(unit: CompressedUnit, offset: number, length: number): boolean {
    const run = this.#format.map(offset, length);
    if (run instanceof Promise) {
      run.catch(() => undefined); // nobody waits for it
      return false;
    }
    if (run.kind !== 'compressed') return false;
    return run.unit.storageOffset === unit.storageOffset && run.unit.storage === unit.storage;
  }
}
