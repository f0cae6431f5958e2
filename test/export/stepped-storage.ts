/**
 * A storage whose requests go on one step at a time, in the order a test chooses: a read takes the
 * bytes and is done; a write or trim changes one half, then the other, and is done.
 */

import { TmemError } from '../../src/lib/errors.ts';
import { roundUp } from '../../src/lib/round-up.ts';
import type { Storage, StorageCapabilities, StorageExtent } from '../../src/storage/storage.ts';

/** What happens to a request: it fails before it has done anything, halfway, or not at all. */
export type Fate = 'well' | 'fails at once' | 'fails halfway';

/** What a trimmed byte reads as. */
export const TRIMMED = 0xee;

export class SteppedStorage implements Storage {
  readonly name = 'stepped';
  readonly isReadOnly = false;
  readonly alignmentBytes = 1;
  readonly supports: StorageCapabilities = { discard: true, fastZeroes: true, extents: false };
  readonly disk: Buffer;
  /** The next steps of the requests under way, oldest request first. */
  readonly steps: { readonly what: string; readonly go: () => void }[] = [];
  /** Says what becomes of the next request. */
  fateOf: (what: string) => Fate = () => 'well';
  /** Ranges that are being changed now. */
  readonly changing = new Set<{ readonly offset: number; readonly length: number }>();
  /** Called when bytes of the disk have changed. */
  onChange: () => void = () => undefined;

  readonly #unitBytes: number;

  /** A change has a multiple of `unitBytes` in its first half, so that no unit is torn. */
  constructor(disk: Buffer, unitBytes = 512) {
    this.disk = disk;
    this.#unitBytes = unitBytes;
  }

  get sizeBytes(): number {
    return this.disk.length;
  }

  /** Takes a step; resolves when all that follows from it has happened. */
  async step(index: number): Promise<void> {
    this.steps.splice(index, 1)[0]?.go();
    await new Promise((resolve) => setImmediate(resolve));
  }

  async read(buffer: Buffer, at: number, length: number, offset: number): Promise<void> {
    const fate = this.fateOf('read');
    await this.#gate('read takes bytes');
    if (fate === 'fails at once') throw failure('read');
    const half = fate === 'well' ? length : length >> 1;
    this.disk.copy(buffer, at, offset, offset + half);
    await this.#gate('read is done');
    if (fate === 'fails halfway') throw failure('read');
  }

  async write(buffer: Buffer, at: number, length: number, offset: number): Promise<void> {
    await this.#change('write', offset, length, (from, to) => {
      buffer.copy(this.disk, from, at + from - offset, at + to - offset);
    });
  }

  async discard(offset: number, length: number): Promise<void> {
    await this.#change('discard', offset, length, (from, to) => this.disk.fill(TRIMMED, from, to));
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    await this.#change('zeroes', offset, length, (from, to) => this.disk.fill(0, from, to));
  }

  async sync(): Promise<void> {
    const fate = this.fateOf('sync');
    await this.#gate('sync is done');
    if (fate !== 'well') throw failure('sync');
  }

  async extent(_offset: number, length: number): Promise<StorageExtent> {
    return { length, isHole: false };
  }

  async close(): Promise<void> {}

  async #change(
    what: string,
    offset: number,
    length: number,
    apply: (from: number, to: number) => void,
  ): Promise<void> {
    const range = { offset, length };
    this.changing.add(range);
    try {
      await this.#changeHalves(what, offset, length, apply);
    } finally {
      this.changing.delete(range);
    }
  }

  async #changeHalves(
    what: string,
    offset: number,
    length: number,
    apply: (from: number, to: number) => void,
  ): Promise<void> {
    const fate = this.fateOf(what);
    const middle = offset + roundUp(length >> 1, this.#unitBytes);
    const halves = [
      [offset, Math.min(middle, offset + length)],
      [Math.min(middle, offset + length), offset + length],
    ] as const;
    for (const [index, [from, to]] of halves.entries()) {
      if (from === to) continue;
      await this.#gate(`${what} changes bytes`);
      if (fate === 'fails at once' || (fate === 'fails halfway' && index === 1))
        throw failure(what);
      apply(from, to);
      this.onChange();
    }
    await this.#gate(`${what} is done`);
    if (fate !== 'well') throw failure(what);
  }

  #gate(what: string): Promise<void> {
    return new Promise((go) => this.steps.push({ what, go }));
  }
}

function failure(what: string): TmemError {
  return new TmemError('io', `The ${what} failed, as the test wants.`);
}
