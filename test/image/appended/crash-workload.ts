/** Guest writes of known sectors with flushes between, and which of them a crash may leave. */

import { expect } from 'vitest';
import type { BlockImage } from '../../../src/image/image.ts';
import type { Random } from '../../tools/crash-random.ts';
import type { LoggedContainer } from './write-log.ts';

const SECTOR = 512;

interface Version {
  /** In every word of the sector. */
  readonly value: number;
  readonly startedAt: number;
  finishedAt: number;
}

interface Flush {
  readonly startedAt: number;
  readonly finishedAt: number;
}

export class CrashWorkload {
  readonly #log: LoggedContainer;
  readonly #random: Random;
  readonly #versions = new Map<number, Version[]>();
  readonly #flushes: Flush[] = [];
  #value = 0;

  constructor(log: LoggedContainer, random: Random) {
    this.#log = log;
    this.#random = random;
  }

  /** Rounds of requests at once in disjoint stretches of 16 sectors, from `places` on. */
  async run(image: BlockImage, places: readonly number[], rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      const work: Promise<void>[] = places
        .filter(() => this.#random.chance(0.4))
        .map((place) => this.#change(image, place));
      if (this.#random.chance(0.5)) work.push(this.flush(image));
      await Promise.all(work);
    }
  }

  async flush(image: BlockImage): Promise<void> {
    const startedAt = this.#log.tick();
    await image.sync();
    this.#flushes.push({ startedAt, finishedAt: this.#log.tick() });
  }

  async #change(image: BlockImage, place: number): Promise<void> {
    const first = this.#random.below(16);
    const count = 1 + this.#random.below(16 - first);
    const isZero = this.#random.chance(0.2);
    const value = isZero ? 0 : ++this.#value;
    const finishedAt = Number.POSITIVE_INFINITY;
    const version: Version = { value, startedAt: this.#log.tick(), finishedAt };
    const start = place + first * SECTOR;
    for (let i = 0; i < count; i++) {
      const sector = start / SECTOR + i;
      const versions = this.#versions.get(sector) ?? [];
      this.#versions.set(sector, [...versions, version]);
    }
    const length = count * SECTOR;
    if (isZero) await image.writeZeroes(start, length, true);
    else await image.write(sectorsOf(value, length), 0, length, start);
    version.finishedAt = this.#log.tick();
  }

  /** Every sector is as the last flush left it, or as a later write wanted it. */
  async checkImage(image: BlockImage, now: number, base: Buffer): Promise<void> {
    const flushed = Math.max(
      0,
      ...this.#flushes.filter((flush) => flush.finishedAt <= now).map((flush) => flush.startedAt),
    );
    const buffer = Buffer.alloc(SECTOR);
    for (const [sector, versions] of this.#versions) {
      await image.read(buffer, 0, SECTOR, sector * SECTOR);
      const stable = versions.findLastIndex(({ finishedAt }) => finishedAt < flushed);
      const allowed = versions
        .slice(Math.max(0, stable))
        .filter(({ startedAt }) => startedAt <= now)
        .map(({ value }) => sectorsOf(value, SECTOR));
      if (stable < 0) allowed.push(base.subarray(sector * SECTOR, (sector + 1) * SECTOR));
      const isAllowed = allowed.some((each) => each.equals(buffer));
      const found = buffer.readUInt32LE(0);
      expect(isAllowed, `sector ${sector} at ${now} may be ${found}`).toBe(true);
    }
  }
}

function sectorsOf(value: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 4) bytes.writeUInt32LE(value, at);
  return bytes;
}
