/**
 * What a disk may hold after a crash. The model hears of every request when it is sent and when it
 * is answered; no two changes of a sector are under way at once, so each sector has a history in a
 * known order, and a point in it behind which a crash may not go back.
 */

import { SECTOR_BYTES, SECTOR_FAULTS, versionOf, ZEROS } from './crash-sectors.ts';

/** Counts what happens: each event, of requests and of the medium, has a time of its own. */
export class Clock {
  now = 0;

  tick(): number {
    return ++this.now;
  }
}

/**
 * What survives: `flushed` is what NBD promises (what was answered before a FLUSH was sent that was
 * answered); `answered` is what writing through promises where only the process is lost.
 */
export type Survival = 'flushed' | 'answered';

export type ChangeKind = 'write' | 'zeroes' | 'trim';

/** Some sectors that one request changes. Times are of the model's clock. */
export interface Change {
  readonly kind: ChangeKind;
  /** Of every request its own, and later ones have higher ones. */
  readonly version: number;
  readonly first: number;
  readonly count: number;
  readonly hasFua: boolean;
  readonly sentAt: number;
  answeredAt: number;
}

/** A FLUSH. */
export interface Flush {
  readonly sentAt: number;
  answeredAt: number;
}

/** A sector that is not what it may be. */
export interface Fault {
  readonly sector: number;
  readonly what: string;
}

/** Faults that are described; more are only counted. */
const FAULTS_SHOWN = 5;

export class CrashModel {
  readonly seed: number;
  readonly sectorCount: number;
  readonly clock: Clock;
  readonly #survival: Survival;
  /** The version that each sector was found to have when its history began. */
  readonly #base: Int32Array;
  readonly #histories: Change[][];
  readonly #isBusy: Uint8Array;
  /** Requests whose answer vouches for what was answered before they were sent. */
  #barriers: Flush[] = [];
  #nextVersion = 1;

  constructor(seed: number, sectorCount: number, survival: Survival, clock = new Clock()) {
    this.seed = seed;
    this.sectorCount = sectorCount;
    this.clock = clock;
    this.#survival = survival;
    this.#base = new Int32Array(sectorCount);
    this.#histories = Array.from({ length: sectorCount }, () => []);
    this.#isBusy = new Uint8Array(sectorCount);
  }

  /** Whether no request for these sectors is under way. */
  isFree(first: number, count: number): boolean {
    return !this.#isBusy.subarray(first, first + count).includes(1);
  }

  /** A change is sent; its sectors must be free, and are not until it is answered. */
  beginChange(kind: ChangeKind, first: number, count: number, hasFua: boolean): Change {
    const times = { sentAt: this.clock.tick(), answeredAt: Number.POSITIVE_INFINITY };
    const change = { kind, version: this.#nextVersion++, first, count, hasFua, ...times };
    this.hold(first, count);
    for (let sector = first; sector < first + count; sector++) {
      this.#histories[sector]?.push(change);
    }
    if (hasFua) this.#barriers.push(change);
    return change;
  }

  beginFlush(): Flush {
    const flush = { sentAt: this.clock.tick(), answeredAt: Number.POSITIVE_INFINITY };
    this.#barriers.push(flush);
    return flush;
  }

  endChange(change: Change): void {
    change.answeredAt = this.clock.tick();
    this.release(change.first, change.count);
  }

  endFlush(flush: Flush): void {
    flush.answeredAt = this.clock.tick();
  }

  /** Keeps changes from sectors that are being read, so that what must come is known. */
  hold(first: number, count: number): void {
    if (!this.isFree(first, count)) throw new Error(`sector ${first} has a request under way`);
    this.#isBusy.fill(1, first, first + count);
  }

  release(first: number, count: number): void {
    this.#isBusy.fill(0, first, first + count);
  }

  /** Faults of what a reader got from sectors that nothing changed meanwhile. */
  checkRead(data: Buffer, first: number): Fault[] {
    return this.#check(data, first, data.length / SECTOR_BYTES, (sector) => ({
      ...{ floor: this.#historyOf(sector).length - 1, end: this.#historyOf(sector).length },
    }));
  }

  /** Faults of the whole medium, had the crash been at that time. */
  checkMedium(medium: Buffer, at = this.clock.now): Fault[] {
    const stableBefore = this.#stableBefore(at);
    return this.#check(medium, 0, this.sectorCount, (sector) => {
      const history = this.#historyOf(sector);
      let floor = -1;
      let end = 0;
      for (; end < history.length; end++) {
        const change = history[end];
        if (change === undefined || change.sentAt > at) break;
        const isOwnFua = change.hasFua && change.answeredAt <= at;
        if (isOwnFua || change.answeredAt < stableBefore) floor = end;
      }
      return { floor, end };
    });
  }

  /** Goes on from what the medium holds after a crash; what was under way is over. */
  settle(medium: Buffer): void {
    for (let sector = 0; sector < this.sectorCount; sector++) {
      this.#base[sector] = versionOf(medium, sector, this.seed);
      this.#histories[sector] = [];
    }
    this.#isBusy.fill(0);
    this.#barriers = [];
  }

  /** What was answered before this time may not be lost in a crash at `at`. */
  #stableBefore(at: number): number {
    if (this.#survival === 'answered') return at + 1;
    let time = 0;
    for (const { sentAt, answeredAt } of this.#barriers) {
      if (answeredAt <= at) time = Math.max(time, sentAt);
    }
    return time;
  }

  #historyOf(sector: number): readonly Change[] {
    return this.#histories[sector] ?? [];
  }

  #check(
    data: Buffer,
    first: number,
    count: number,
    rangeOf: (sector: number) => { floor: number; end: number },
  ): Fault[] {
    const faults: Fault[] = [];
    for (let sector = first; sector < first + count; sector++) {
      const version = versionOf(data, sector, this.seed, sector - first);
      const { floor, end } = rangeOf(sector);
      if (this.#isAllowed(sector, version, floor, end)) continue;
      faults.push({ sector, what: this.#describe(sector, version, floor) });
    }
    return faults;
  }

  /** Whether a sector may be what one of the changes from `floor` to `end` made of it. */
  #isAllowed(sector: number, version: number, floor: number, end: number): boolean {
    const history = this.#historyOf(sector);
    if (floor < 0 && version === this.#base[sector]) return true;
    for (let index = Math.max(0, floor); index < end; index++) {
      const change = history[index];
      if (change?.kind === 'write' && version === change.version) return true;
      if (change?.kind === 'zeroes' && version === ZEROS) return true;
      if (change?.kind === 'trim' && this.#wasEver(sector, version, index)) return true;
    }
    return false;
  }

  /** A trimmed sector is zeros or anything that it was before, but whole and its own. */
  #wasEver(sector: number, version: number, before: number): boolean {
    if (version === ZEROS || version === this.#base[sector]) return true;
    const earlier = this.#historyOf(sector).slice(0, before);
    return earlier.some((change) => change.kind === 'write' && change.version === version);
  }

  #describe(sector: number, version: number, floor: number): string {
    const history = this.#historyOf(sector);
    const names = history.map((change) => `${change.kind} ${change.version}`);
    const known = `${[`found ${this.#base[sector]}`, ...names].join(', ')}`;
    const from = floor < 0 ? 'what was found' : names[floor];
    if (version === SECTOR_FAULTS.MIXED) return `is mixed of versions (${known})`;
    if (version === SECTOR_FAULTS.MISPLACED) return `holds what belongs to another (${known})`;
    if (version === SECTOR_FAULTS.FOREIGN) return `holds what another run wrote (${known})`;
    return `holds version ${version}, not ${from} or later (${known})`;
  }
}

/** A line for each of the first faults; empty when there are none. */
export function describeFaults(faults: readonly Fault[]): string {
  const shown = faults.slice(0, FAULTS_SHOWN).map(({ sector, what }) => `sector ${sector} ${what}`);
  if (faults.length > shown.length) shown.push(`and ${faults.length - shown.length} more`);
  return shown.join('\n');
}
