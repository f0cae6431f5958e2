/**
 * Dense numbers for the pages of a trace, in the order in which they are first used: what lets a
 * simulation keep all it knows in typed arrays, without a hash on its path.
 *
 * Open addressing with linear probing over arrays: a trace of millions of pages would make a `Map`
 * five times slower, and its entries objects.
 */
import { TmemError } from '../../lib/errors.ts';
import { grownShared } from './growing-ids.ts';

/** More volumes than this are not told apart. */
export const VOLUMES_MAX = 65_536;

/** Their names are on shared memory that can be no larger. */
const PAGES_MAX = 2 ** 29;
const TABLE_MIN = 1 << 12;
/** A table is doubled when this part of it is taken. */
const LOAD_MAX = 0.6;
const HIGH_FACTOR = 1 / 0x1_0000_0000;

/** Numbers of pages, on shared memory. */
export type PageNumbers = Uint32Array<SharedArrayBuffer> | Float64Array<SharedArrayBuffer>;

/** Numbers (volume, page) pairs from 0 in the order of their first use. */
export class PageIds {
  /** Pages known so far. */
  count = 0;
  /** In four bytes each, until one of them needs eight. */
  private pages: PageNumbers = new Uint32Array(new SharedArrayBuffer(TABLE_MIN * 4));
  /** Zeros are not written: memory that nobody writes to is not taken. */
  private volumes = new Uint16Array(new SharedArrayBuffer(TABLE_MIN * 2));
  /** Number of a page + 1; 0 is free. */
  private table = new Int32Array(2 * TABLE_MIN);
  private mask = 2 * TABLE_MIN - 1;

  /** The page's number in its volume, by dense number. On shared memory; valid until `add`. */
  get pageNumbers(): PageNumbers {
    return this.pages.subarray(0, this.count);
  }

  /** The page's volume, by dense number. On shared memory; valid until `add`. */
  get pageVolumes(): Uint16Array {
    return this.volumes.subarray(0, this.count);
  }

  /** The number of a page, which is new if it was not known; `hash` is `hashPage` of it. */
  add(volume: number, page: number, hash: number): number {
    const { table, mask } = this;
    let at = hash & mask;
    for (let entry = table[at]!; entry !== 0; entry = table[at]!) {
      const id = entry - 1;
      if (this.pages[id] === page && this.volumes[id] === volume) return id;
      at = (at + 1) & mask;
    }
    const id = this.count;
    if (id === this.pages.length) this.growPages();
    if (page >>> 0 !== page) this.widenPages();
    this.pages[id] = page;
    if (volume !== 0) this.volumes[id] = volume;
    table[at] = id + 1;
    this.count = id + 1;
    if (this.count > mask * LOAD_MAX) this.growTable();
    return id;
  }

  /** The number of a page, or -1 if it is not known. */
  find(volume: number, page: number, hash: number): number {
    const { table, mask } = this;
    let at = hash & mask;
    for (let entry = table[at]!; entry !== 0; entry = table[at]!) {
      const id = entry - 1;
      if (this.pages[id] === page && this.volumes[id] === volume) return id;
      at = (at + 1) & mask;
    }
    return -1;
  }

  /** Gives back the memory that only `add` and `find` need; neither may be called afterwards. */
  freeze(): void {
    this.table = new Int32Array(1);
    this.mask = 0;
  }

  private growPages(): void {
    const room = this.count * 2;
    if (room > PAGES_MAX) {
      throw new TmemError(
        'unsupported',
        `the trace uses more than ${this.count} different pages; sample it, or take larger pages`,
      );
    }
    const { buffer, BYTES_PER_ELEMENT: bytes } = this.pages;
    const memory = grownShared(buffer, room * bytes);
    this.pages = bytes === 4 ? new Uint32Array(memory, 0, room) : new Float64Array(memory, 0, room);
    this.volumes = new Uint16Array(grownShared(this.volumes.buffer, room * 2), 0, room);
  }

  /** From the first page number on that has more than 32 bits. */
  private widenPages(): void {
    if (this.pages instanceof Float64Array) return;
    const empty = new SharedArrayBuffer(8);
    const wide = new Float64Array(grownShared(empty, this.pages.length * 8), 0, this.pages.length);
    wide.set(this.pages.subarray(0, this.count));
    this.pages = wide;
  }

  private growTable(): void {
    const table = new Int32Array(this.table.length * 2);
    const mask = table.length - 1;
    // The old table goes first: both at once would be the peak of a whole replay.
    this.table = table;
    this.mask = mask;
    for (let id = 0; id < this.count; id++) {
      let at = hashPage(this.volumes[id]!, this.pages[id]!) & mask;
      while (table[at] !== 0) at = (at + 1) & mask;
      table[at] = id + 1;
    }
  }
}

/** A hash of a page's name, u32: every bit depends on every bit of the volume and the page. */
export function hashPage(volume: number, page: number): number {
  let hash = Math.imul(page >>> 0, 0x9e3779b1) ^ Math.imul(volume + 1, 0x85ebca77);
  if (page > 0xffff_ffff) hash ^= Math.imul((page * HIGH_FACTOR) >>> 0, 0xc2b2ae3d);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  return (hash ^ (hash >>> 16)) >>> 0;
}
