/** An export in this process as a workload's connection. */

import { Export, type WriteBackParts } from '../../src/export/export.ts';
import { rawImage } from '../../src/image/raw.ts';
import { BufferPool } from '../../src/lib/buffer-pool.ts';
import type { Clock } from '../../src/lib/clock.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { Cleancache } from '../../src/tmem/cleancache.ts';
import { Frontswap } from '../../src/tmem/frontswap.ts';
import { type PutOutcome, REFUSED_LIMIT } from '../../src/tmem/layer.ts';
import { MIB, makeMemory, read, write } from '../export/fixture.ts';
import type { Random } from './crash-random.ts';
import { SECTOR_BYTES } from './crash-sectors.ts';
import type { Connection, CrashRequest, Outcome } from './crash-workload.ts';

/** The modes that `connectToExport` knows. */
export const EXPORT_MODES = ['writethrough', 'writearound', 'writeback'] as const;
export type WritingMode = (typeof EXPORT_MODES)[number];

const memory = makeMemory();

/** Pages may be dirty in this number, which is less than the disk has. */
const DIRTY_PAGES = 24;
/** Puts that the tier refuses, so that their pages go to the image before they are answered. */
const REFUSED_SHARE = 0.04;
/** Each request takes so long on the test's clock. */
const REQUEST_MS = 1;
const AGE_MS_MAX = 40;

/** A clock that the test turns: an hour on it takes no time. */
class TurnedClock implements Clock {
  #now = 0;
  #timers: { readonly due: number; readonly then: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(ms: number, then: () => void): () => void {
    const timer = { due: this.#now + ms, then };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((each) => each !== timer);
    };
  }

  turn(ms: number): void {
    this.#now += ms;
    const due = this.#timers.filter((timer) => timer.due <= this.#now);
    this.#timers = this.#timers.filter((timer) => timer.due > this.#now);
    for (const { then } of due) then();
  }
}

/** A tier that refuses some puts, as one whose memory is short. */
class ShortFrontswap extends Frontswap {
  random: Random | undefined;

  override put(page: number, src: Buffer, srcOffset: number): PutOutcome {
    if (this.random?.chance(REFUSED_SHARE) !== true) return super.put(page, src, srcOffset);
    this.flush(page);
    return REFUSED_LIMIT;
  }
}

function writeBackParts(clock: Clock, random: Random): WriteBackParts {
  const frontswap = new ShortFrontswap(memory.tmem, memory.pageBytes, memory.lender);
  frontswap.random = random;
  const buffers = new BufferPool(MIB, memory.pageBytes);
  return {
    ...{ frontswap, limitPages: DIRTY_PAGES, buffers, clock },
    tuning: { ageMsMax: AGE_MS_MAX, highFraction: 0.75, lowFraction: 0.5, closesGaps: true },
    onFailure: ({ cause }) => {
      throw cause;
    },
  };
}

/** A new export of `storage`, and how to reach it as a server's connections do. */
export function connectToExport(
  storage: Storage,
  mode: WritingMode,
  random: Random,
): { connection: Connection; close: () => void } {
  const { tmem, pageBytes, lender, buffers } = memory;
  const clock = new TurnedClock();
  const cache = new Cleancache(tmem, pageBytes, lender);
  const writeBack = mode === 'writeback' ? writeBackParts(clock, random) : undefined;
  const image = rawImage(storage, 'disk');
  const target = new Export({ name: 'disk', image, cache, buffers, mode, writeBack });
  const parts = { target, buffers };
  const connection = async (request: CrashRequest): Promise<Outcome> => {
    const { kind, hasFua, payload } = request;
    const [offset, length] = [request.first * SECTOR_BYTES, request.count * SECTOR_BYTES];
    clock.turn(REQUEST_MS);
    if (kind === 'read') return read(parts, offset, length);
    if (kind === 'write' && payload !== undefined) {
      const taken = target.tryWrite(offset, length, payload, 0);
      if (taken === false) await write(parts, offset, payload);
      else await taken;
    } else if (kind === 'zeroes') await target.writeZeroes(offset, length, true);
    else if (kind === 'trim') await target.trim(offset, length);
    if (kind === 'flush' || hasFua) await target.sync();
    return undefined;
  };
  const close = (): void => {
    target.close();
    cache.pool.destroy();
    writeBack?.frontswap.pool.destroy();
  };
  return { connection, close };
}
