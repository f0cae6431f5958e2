/**
 * An export that writes back and whose memory, limits and image a test plays with, over a disk of
 * which every unit is known at every moment. It throws when a page reads older than it may, is lost
 * that need not be, or memory grows above a limit.
 */

import { expect } from 'vitest';
import { PIECE_BYTES } from '../../../src/lib/buffer-pool.ts';
import { MISS } from '../../../src/tmem/layer.ts';
import { read, write } from '../fixture.ts';
import { RequestsUnderWay } from '../requests-under-way.ts';
import { type Fate, SteppedStorage, TRIMMED } from '../stepped-storage.ts';
import { WriteHistory } from '../write-history.ts';
import { type WriteBackParts, writeAtOnce, writeBackOn } from './write-back-fixture.ts';

const PAGE_COUNT = 12;
const TAIL_UNITS = 3;
const UNITS_PER_PAGE = 8; // requests are whole units, so that a unit is never of two minds
/** Units of the disk, with a tail. */
export const UNITS = PAGE_COUNT * UNITS_PER_PAGE + TAIL_UNITS;
export const PAGES = PAGE_COUNT + 1;
const TRIMMED_VALUE = (TRIMMED * 0x01010101) >>> 0;
const MEMORY_BYTES = 8 * 1024 * 1024;
/** What policies may note of a page that leaves while more is held than the limit. */
const REMEMBERED_BYTES_MAX = 512;
/** Pages that may lie beside memory: 256 KiB of them, and four at least. */
const strandedMax = (pageBytes: number) => Math.max(4, (256 * 1024) / pageBytes);

export type RangeKind = 'read' | 'write' | 'slow write' | 'zeroes' | 'trim' | 'prefetch' | 'forget';

export type Action =
  | { kind: 'range'; what: RangeKind; from: number; units: number }
  /** Whole pages are written from `first` on, so many apart, to the end. */
  | { kind: 'comb'; first: number; step: number }
  | { kind: 'step'; pick: number }
  | { kind: 'pass'; ms: number }
  | { kind: 'sync' }
  | { kind: 'freeze' }
  | { kind: 'thaw' }
  /** A limit or a cap becomes that part of what is used; undefined is what it was at first. */
  | { kind: 'limit'; part: number | undefined }
  | { kind: 'cap'; part: number | undefined }
  | { kind: 'shrink'; bytes: number }
  | { kind: 'trim to caps'; pages: number }
  /** From now on each takes nothing that is new to it, or what the plan says. */
  | { kind: 'weather'; isImageBroken: boolean; isMemoryFull: boolean };

export interface Plan {
  readonly actions: readonly Action[];
  readonly fates: readonly Fate[];
  readonly refusals: readonly boolean[];
  readonly limitPages: number;
  readonly hasHot: boolean;
  readonly pageBytes: number;
}

export class WriteBackWorld {
  readonly storage: SteppedStorage;
  readonly parts: WriteBackParts;
  readonly #history: WriteHistory;
  readonly #requests = new RequestsUnderWay((cause) => this.#mayFailBy(cause));
  readonly #plan: Plan;
  readonly #pageBytes: number;
  readonly #unitBytes: number;
  readonly #sizeBytes: number;
  /** From the end of the plan on the disk and the memory behave. */
  #isOver = false;
  #isFrozen = false;
  #weather = { isImageBroken: false, isMemoryFull: false };
  #nextValue = 1;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#pageBytes = plan.pageBytes;
    this.#unitBytes = plan.pageBytes / UNITS_PER_PAGE;
    this.#sizeBytes = UNITS * this.#unitBytes;
    this.storage = new SteppedStorage(Buffer.alloc(this.#sizeBytes), this.#unitBytes);
    const { disk } = this.storage;
    for (let unit = 0; unit < UNITS; unit++) this.#fill(disk, unit, this.#nextValue++);
    const values = Array.from({ length: UNITS }, (_, unit) => this.#valueIn(disk, unit));
    this.#history = new WriteHistory(values);
    const { fates, refusals, limitPages, hasHot, pageBytes } = plan;
    let [requests, allocations] = [0, 0];
    this.storage.fateOf = (what) => {
      if (this.#isOver) return 'well';
      if (this.#weather.isImageBroken && what !== 'read') return 'fails at once';
      return fates[requests++ % fates.length] ?? 'well';
    };
    const mayAllocate = () =>
      this.#isOver ||
      !(this.#weather.isMemoryFull || refusals[allocations++ % refusals.length] === true);
    const memoryBytes = MEMORY_BYTES;
    const options = { limitPages, hasHot, pageBytes, memoryBytes, mayAllocate };
    this.parts = writeBackOn(this.storage, options);
  }

  async carryOut(action: Action): Promise<void> {
    const { tmem, account } = this.parts;
    const [usedBytes, accountBytes] = [tmem.usedBytes, account.usedBytes];
    if (action.kind === 'step') {
      const { steps } = this.storage;
      if (steps.length > 0) await this.storage.step(action.pick % steps.length);
    } else {
      this.#act(action);
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#requests.check();
    this.#checkMemory();
    expect(tmem.usedBytes).toBeLessThanOrEqual(
      Math.max(tmem.limitBytes, usedBytes + REMEMBERED_BYTES_MAX),
    );
    expect(account.usedBytes).toBeLessThanOrEqual(Math.max(account.capBytes, accountBytes));
  }

  /** Disk and memory behave: whatever is under way ends, a sync goes well, nothing is left behind. */
  async finish(): Promise<void> {
    this.#isOver = true;
    for (const kind of ['limit', 'cap'] as const) this.#act({ kind, part: undefined });
    this.#act({ kind: 'thaw' });
    await this.#settle();
    const { table, tier, buffers, writerBuffers, clock, target } = this.parts;
    const pageBytes = this.#pageBytes;
    for (let page = 0; page < PAGES; page++) {
      if (!tier.isLost(page)) continue;
      await this.#settle(() => this.#begin('write', page * pageBytes, this.#bytesOf(page)));
    }
    let isSynced = false;
    await this.#settle(() => {
      this.#requests.track(this.#sync().then(() => (isSynced = true)));
    });
    expect(isSynced).toBe(true);
    expect([table.count, table.writingCount, table.owedCount, table.lostCount]).toEqual(
      [0, 0, 0, 0], // and so nothing is in the queues
    );
    expect(table.failedCount + table.troubledCount).toBe(0);
    expect([buffers.lentBytes, writerBuffers.lentBytes]).toEqual([0, 0]);
    expect(this.parts.frontswap.pool.objects()[Symbol.iterator]().next().done).toBe(true);
    expect(tier.isEmpty).toBe(true);
    clock.turn(100_000);
    target.close();
    expect(this.storage.steps.length).toBe(0);
  }

  /** Takes steps until nothing is under way any more; pauses between retries pass. */
  async #settle(begin: () => void = () => undefined): Promise<void> {
    begin();
    for (let steps = 0; this.#requests.count > 0 || this.storage.steps.length > 0; steps++) {
      if (steps > 5000) throw new Error('there is no end to it');
      await this.carryOut(
        this.storage.steps.length > 0 ? { kind: 'step', pick: steps } : { kind: 'pass', ms: 6000 },
      );
    }
  }

  #act(action: Exclude<Action, { kind: 'step' }>): void {
    const { clock, tmem, account } = this.parts;
    if (action.kind === 'pass') clock.turn(action.ms);
    else if (action.kind === 'freeze' || action.kind === 'thaw') {
      this.#isFrozen = action.kind === 'freeze';
      tmem[action.kind]();
    } else if (action.kind === 'sync') this.#requests.track(this.#sync());
    else if (action.kind === 'shrink') tmem.shrink(action.bytes);
    else if (action.kind === 'limit') {
      tmem.setLimit(action.part === undefined ? MEMORY_BYTES : action.part * tmem.usedBytes);
    } else if (action.kind === 'cap') {
      const { part } = action;
      const capBytes = part === undefined ? Number.POSITIVE_INFINITY : part * account.usedBytes;
      account.setShare({ capBytes });
    } else if (action.kind === 'trim to caps') {
      expect(tmem.trimToCaps(action.pages)).toBeLessThanOrEqual(action.pages);
    } else if (action.kind === 'comb') {
      for (let page = action.first; page < PAGES; page += action.step) {
        this.#begin('write', page * this.#pageBytes, this.#bytesOf(page));
      }
    } else if (action.kind === 'range') {
      const { what } = action;
      const offset = action.from * this.#unitBytes;
      const length = Math.min(action.units * this.#unitBytes, this.#sizeBytes - offset);
      // Data come and go in buffers, trims and zeroes may be of any length.
      const inBuffer = Math.min(length, PIECE_BYTES - (offset % this.#pageBytes));
      this.#begin(what, offset, what === 'trim' || what === 'zeroes' ? length : inBuffer);
    } else this.#weather = action;
  }

  #begin(kind: RangeKind, offset: number, length: number): void {
    const { target, cache } = this.parts;
    const unitBytes = this.#unitBytes;
    if (kind === 'forget') cache.flush(Math.floor(offset / this.#pageBytes), 1);
    else if (kind === 'read') this.#requests.track(this.#read(offset, length));
    else if (kind === 'prefetch') {
      this.#requests.track(target.reads.prefetch(offset, length, () => true));
    } else if (kind === 'zeroes') {
      const ended = this.#noteChange(offset, length, () => 0);
      this.#requests.track(target.writeZeroes(offset, length, false), ended);
    } else if (kind === 'trim') {
      const ended = this.#noteChange(offset, length, () => TRIMMED_VALUE);
      this.#requests.track(target.trim(offset, length), ended);
    } else {
      const data = Buffer.alloc(length);
      for (let unit = 0; unit < length / unitBytes; unit++) {
        this.#fill(data, unit, this.#nextValue++);
      }
      const ended = this.#noteChange(offset, length, (unit) => this.#valueIn(data, unit));
      const way = kind === 'write' ? writeAtOnce : write;
      this.#requests.track(way(this.parts, offset, data), ended);
    }
  }

  #noteChange(
    offset: number,
    length: number,
    valueAt: (unit: number) => number,
  ): (wentWell: boolean) => void {
    const first = offset / this.#unitBytes;
    const ended: ((wentWell: boolean) => void)[] = [];
    for (let unit = first; unit < first + length / this.#unitBytes; unit++) {
      const value = valueAt(unit - first);
      // Of a page that is trimmed in part, what is in memory may stay.
      const page = Math.floor(unit / UNITS_PER_PAGE);
      const start = page * this.#pageBytes;
      const isWhole = start >= offset && start + this.#bytesOf(page) <= offset + length;
      ended.push(this.#history.begin(unit, value, value !== TRIMMED_VALUE || isWhole));
    }
    return (wentWell) => {
      for (const end of ended) end(wentWell);
    };
  }

  /**
   * A request may fail since the storage does, or since a page was lost; but pages are lost only
   * where more of them than lie beside memory were refused by both.
   */
  #mayFailBy(cause: unknown): boolean {
    const { fates, actions } = this.#plan;
    const canFail =
      fates.some((each) => each !== 'well') ||
      actions.some((each) => each.kind === 'weather' && each.isImageBroken);
    if (!canFail) return false;
    const isLoss = this.#canLose && /damaged in memory/.test(String(cause));
    return isLoss || /as the test wants/.test(String(cause));
  }

  get #canLose(): boolean {
    return PAGES > strandedMax(this.#pageBytes);
  }

  async #read(offset: number, length: number): Promise<void> {
    const asked = this.#history.now();
    const data = await read(this.parts, offset, length);
    this.#check(data, offset / this.#unitBytes, asked, 'read');
  }

  async #sync(): Promise<void> {
    const asked = this.#history.now();
    await this.parts.target.sync();
    this.#check(this.storage.disk, 0, asked, 'synced');
  }

  #check(data: Buffer, first: number, asked: number, what: string): void {
    for (let unit = 0; unit < data.length / this.#unitBytes; unit++) {
      const value = this.#valueIn(data, unit);
      if (this.#history.mayRead(first + unit, value, asked)) continue;
      throw new Error(`${what} ${value} in unit ${first + unit}: it is older than it may be`);
    }
  }

  /** At every moment a page is clean, and what the disk is, or dirty and held, or neither. */
  #checkMemory(): void {
    const { cache, tier, table } = this.parts;
    const pageBytes = this.#pageBytes;
    const [page, onDisk] = [Buffer.alloc(pageBytes), Buffer.alloc(pageBytes)];
    let dirtyCount = 0;
    for (let index = 0; index < PAGES; index++) {
      if (table.has(index)) dirtyCount++;
      this.#checkDirty(index, page);
      if (!cache.has(index)) continue;
      if (tier.has(index)) throw new Error(`page ${index} is clean and dirty`);
      const start = index * pageBytes;
      const end = start + this.#bytesOf(index);
      const isChanging = [...this.storage.changing].some(
        ({ offset, length }) => offset < end && start < offset + length,
      );
      if (isChanging) continue;
      cache.get(index, page, 0);
      onDisk.fill(0);
      this.storage.disk.copy(onDisk, 0, start, end);
      if (!page.equals(onDisk)) throw new Error(`page ${index} of the cache is not the disk's`);
    }
    expect(table.count).toBe(dirtyCount);
    expect(table.count).toBeLessThanOrEqual(this.#plan.limitPages);
    expect(table.owedCount).toBeGreaterThanOrEqual(0);
    for (const layer of this.parts.tmem.layers) expect(layer.isFrozen).toBe(this.#isFrozen);
    if (!this.#canLose) expect(table.lossCount).toBe(0);
  }

  /** What is dirty can be read; what is not, or is lost, is not stored. */
  #checkDirty(index: number, into: Buffer): void {
    const { tier, frontswap, table } = this.parts;
    if (tier.isHeld(index)) return;
    const isReadable = table.has(index) && !tier.isLost(index);
    if (isReadable && tier.get(index, into, 0) === MISS) {
      throw new Error(`page ${index} is dirty and not stored`);
    }
    if (!isReadable && frontswap.pool.has(0, index)) {
      throw new Error(`page ${index} is not dirty and stored`);
    }
  }

  /** Bytes of the page that are inside the disk. */
  #bytesOf(page: number): number {
    return Math.min(this.#pageBytes, this.#sizeBytes - page * this.#pageBytes);
  }

  #fill(to: Buffer, unit: number, value: number): void {
    const unitBytes = this.#unitBytes;
    const start = unit * unitBytes;
    to.writeUInt32BE(value, start);
    for (let at = 4; at < unitBytes; at *= 2) to.copyWithin(start + at, start, start + at);
  }

  #valueIn(from: Buffer, unit: number): number {
    const unitBytes = this.#unitBytes;
    const value = from.readUInt32BE(unit * unitBytes);
    if (from.readUInt32BE((unit + 1) * unitBytes - 4) !== value) throw new Error('half a unit');
    return value;
  }
}
