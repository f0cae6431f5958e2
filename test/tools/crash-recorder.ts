/**
 * A storage that writes down what reaches it and when, and what a loss of power could have left of
 * it at any moment: everything that was done before the last sync began that ended, and of what came
 * later any sectors, for a medium may keep them in any order.
 */

import type { Storage, StorageCapabilities, StorageExtent } from '../../src/storage/storage.ts';
import { type Clock, type CrashModel, describeFaults } from './crash-model.ts';
import type { Random } from './crash-random.ts';
import { SECTOR_BYTES } from './crash-sectors.ts';

/** A part of a write, as it was taken from the writer's buffer. */
interface Part {
  readonly offset: number;
  readonly bytes: Buffer;
  readonly takenAt: number;
  /** When the whole write was answered; Infinity before. */
  readonly write: { finishedAt: number };
}

interface Sync {
  readonly startedAt: number;
  readonly finishedAt: number;
}

/** Every request waits at gates that a test opens one by one. */
export class RecordingStorage implements Storage {
  readonly name = 'recorded';
  readonly isReadOnly = false;
  readonly alignmentBytes = 1;
  readonly supports: StorageCapabilities = { discard: true, fastZeroes: true, extents: false };
  readonly sizeBytes: number;
  readonly parts: Part[] = [];
  readonly syncs: Sync[] = [];
  readonly #disk: Buffer;
  readonly #clock: Clock;
  readonly #gates: (() => void)[] = [];

  constructor(sizeBytes: number, clock: Clock) {
    this.sizeBytes = sizeBytes;
    this.#disk = Buffer.alloc(sizeBytes);
    this.#clock = clock;
  }

  /** Lets one of the requests under way take its next step; no when there is none. */
  step(random: Random): boolean {
    if (this.#gates.length === 0) return false;
    this.#gates.splice(random.below(this.#gates.length), 1)[0]?.();
    return true;
  }

  async read(buffer: Buffer, at: number, length: number, offset: number): Promise<void> {
    await this.#gate();
    this.#disk.copy(buffer, at, offset, offset + length);
    await this.#gate();
  }

  async write(buffer: Buffer, at: number, length: number, offset: number): Promise<void> {
    await this.#change(offset, length, (from, to) =>
      Buffer.from(buffer.subarray(at + from - offset, at + to - offset)),
    );
  }

  async discard(offset: number, length: number): Promise<void> {
    await this.writeZeroes(offset, length);
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    await this.#change(offset, length, (from, to) => Buffer.alloc(to - from));
  }

  async sync(): Promise<void> {
    const startedAt = this.#clock.tick();
    await this.#gate();
    this.syncs.push({ startedAt, finishedAt: this.#clock.tick() });
  }

  async extent(_offset: number, length: number): Promise<StorageExtent> {
    return { length, isHole: false };
  }

  async close(): Promise<void> {}

  /** Takes the bytes in two halves: whoever changes the buffer meanwhile is seen. */
  async #change(
    offset: number,
    length: number,
    take: (from: number, to: number) => Buffer,
  ): Promise<void> {
    const middle = offset + Math.ceil((length >> 1) / SECTOR_BYTES) * SECTOR_BYTES;
    const write = { finishedAt: Number.POSITIVE_INFINITY };
    const halves = [
      [offset, Math.min(middle, offset + length)],
      [Math.min(middle, offset + length), offset + length],
    ] as const;
    for (const [from, to] of halves) {
      if (from === to) continue;
      await this.#gate();
      const bytes = take(from, to);
      bytes.copy(this.#disk, from);
      this.parts.push({ offset: from, bytes, takenAt: this.#clock.tick(), write });
    }
    await this.#gate();
    write.finishedAt = this.#clock.tick();
  }

  #gate(): Promise<void> {
    return new Promise((open) => this.#gates.push(open));
  }
}

/** Random losses that are tried before each sync ends, beside every prefix. */
const SUBSETS = 6;

/** The medium at successive moments, and the writes that a crash may take back. */
class Replay {
  /** How many media were looked at. */
  mediaCount = 0;
  readonly #model: CrashModel;
  readonly #random: Random;
  readonly #stable: Buffer;
  #pending: Part[] = [];

  constructor(sizeBytes: number, model: CrashModel, random: Random) {
    this.#stable = Buffer.alloc(sizeBytes);
    this.#model = model;
    this.#random = random;
  }

  take(part: Part): void {
    this.#pending.push(part);
  }

  /** What was finished before the sync began can be lost no more. */
  finishSync({ startedAt }: Sync): void {
    const isStable = ({ write }: Part): boolean => write.finishedAt < startedAt;
    for (const part of this.#pending.filter(isStable)) part.bytes.copy(this.#stable, part.offset);
    this.#pending = this.#pending.filter((part) => !isStable(part));
  }

  /** Crashes at that time: with nothing lost, all lost, and some of it. */
  crash(at: number): void {
    this.#check(at, 'nothing', this.#pending.length);
    this.#check(at, 'all writes', 0);
    this.#checkSome(at);
  }

  /** Crashes at that time with every loss worth trying. */
  crashInEveryWay(at: number): void {
    for (let kept = 0; kept <= this.#pending.length; kept++) {
      this.#check(at, `all but ${kept} writes`, kept);
    }
    for (let tries = 0; tries < SUBSETS; tries++) this.#checkSome(at);
  }

  #check(at: number, lost: string, keptCount: number): void {
    const medium = Buffer.from(this.#stable);
    for (const part of this.#pending.slice(0, keptCount)) part.bytes.copy(medium, part.offset);
    this.#judge(medium, at, lost);
  }

  /** Any sector of any write may be lost. */
  #checkSome(at: number): void {
    const medium = Buffer.from(this.#stable);
    const share = this.#random.pick([0.1, 0.5, 0.9]);
    for (const { offset, bytes } of this.#pending) {
      for (let from = 0; from < bytes.length; from += SECTOR_BYTES) {
        if (this.#random.chance(share))
          bytes.copy(medium, offset + from, from, from + SECTOR_BYTES);
      }
    }
    this.#judge(medium, at, 'random sectors');
  }

  #judge(medium: Buffer, at: number, lost: string): void {
    this.mediaCount++;
    const faults = this.#model.checkMedium(medium, at);
    if (faults.length === 0) return;
    const when = `A loss of power at ${at} that takes ${lost}, not synced, leaves`;
    throw new Error(`${when} a wrong medium:\n${describeFaults(faults)}`);
  }
}

/**
 * Plays what was recorded up to every moment, and cuts the power there; throws for the first medium
 * that is not allowed. Answers how many media there were.
 */
export function cutPowerEverywhere(
  storage: RecordingStorage,
  model: CrashModel,
  random: Random,
): number {
  const replay = new Replay(storage.sizeBytes, model, random);
  const parts = new Map(storage.parts.map((part) => [part.takenAt, part]));
  const syncs = new Map(storage.syncs.map((sync) => [sync.finishedAt, sync]));
  const end = model.clock.now;
  for (let now = 1; now <= end; now++) {
    const part = parts.get(now);
    const sync = syncs.get(now);
    if (part !== undefined) replay.take(part);
    if (sync !== undefined) {
      replay.crashInEveryWay(now - 1);
      replay.finishSync(sync);
    }
    replay.crash(now);
  }
  replay.crashInEveryWay(end);
  return replay.mediaCount;
}
