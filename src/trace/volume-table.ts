/** The volumes of a trace: names, and the dense numbers that requests carry for them. */

import { TmemError } from '../lib/errors.ts';
import { NameTable } from './name-table.ts';

/** Volumes numbered in the order of their first use. */
export class VolumeTable {
  readonly #table = new NameTable();
  readonly #names: string[] = [];
  /** By volume, the first sample that has it, and the number by which its pages were chosen. */
  readonly #samples: { readonly path: string; readonly number: number }[] = [];

  /** Names by number; grows while the trace is read. */
  get names(): readonly string[] {
    return this.#names;
  }

  /**
   * The number of the volume whose name stands in `bytes` from `from` up to `to`; -1 if there are
   * too many. Commas and spaces in it, between the parts that make the name, become
   * underscores.
   */
  ofBytes(bytes: Uint8Array, from: number, to: number): number {
    const number = this.#table.numberOf(bytes, from, to);
    if (number === this.#names.length) {
      this.#names.push(
        Buffer.from(bytes.subarray(from, to))
          .toString()
          .replaceAll(/[,\s]+/g, '_'),
      );
    }
    return number;
  }

  /** The number of a volume by its name; -1 if there are too many. */
  ofName(name: string): number {
    const bytes = Buffer.from(name);
    const number = this.#table.numberOf(bytes, 0, bytes.length);
    if (number === this.#names.length) this.#names.push(name);
    return number;
  }

  /**
   * Notes that the sample `path` chose the pages of `volume`, as numbered here, by `number`. Throws a
   * `TmemError` if another sample chose them by another one: then they have different pages.
   */
  noteSample(volume: number, path: string, number: number): void {
    if (volume < 0) return;
    this.#samples[volume] ??= { path, number };
    const first = this.#samples[volume];
    if (first.number === number || first.path === path) return;
    throw new TmemError(
      'invalid',
      `${first.path} and ${path} are samples of different pages of the volume ` +
        `"${this.#names[volume]}", since they number it ${first.number} and ${number}; ` +
        'tell their volumes apart (tmem trace merge --prefix)',
    );
  }
}
