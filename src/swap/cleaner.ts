/**
 * Making free segments out of holes: what is live in the emptiest segment is moved to the mover's
 * segment, and then the whole segment is free. It begins when free segments run short, and whoever
 * needs a segment and finds none waits for it. Some of the victims are read and moved at a time, one
 * after another, in slices that leave the event loop to others.
 *
 * Source: M. Rosenblum and J. K. Ousterhout, The Design and Implementation of a Log-Structured File
 * System, 1992 (section 3.3; the greedy choice, as ages mean little in swap).
 */

import { TmemError } from '../lib/errors.ts';
import { formatSize } from '../lib/sizes.ts';
import { turnOfTheLoop } from '../lib/turn-of-the-loop.ts';
import { BLOCK_BYTES } from './appender.ts';
import { fillableBytes } from './geometry.ts';
import { RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES } from './record.ts';
import type { RecordStore } from './record-store.ts';

/** Free segments that only the mover may take: without them nothing could be moved. */
const MOVER_SEGMENTS = 2;
/** Free segments, beyond those, below which cleaning begins by itself, and at which it ends. */
const LOW_SEGMENTS_MIN = 2;
const LOW_SEGMENTS_MAX = 16;

/** What may be live in a victim, as a share: when there is time, and when somebody waits. */
const LIVE_SHARE_IDLE = 3 / 4;
const LIVE_SHARE_NEEDED = 31 / 32;

/** Bytes of a victim that are looked at in one turn of the event loop. */
const SLICE_BYTES = 128 * 1024;

export class Cleaner {
  readonly #store: RecordStore;
  readonly #memory: Buffer;
  readonly #lowSegments: number;
  readonly #highSegments: number;
  readonly #fillableBytes: number;
  #stepping: Promise<boolean> | undefined;
  #background: Promise<void> | undefined;
  #isClosed = false;

  /** `memory` is one segment, aligned. */
  constructor(store: RecordStore, memory: Buffer) {
    this.#store = store;
    this.#memory = memory;
    const { segmentCount, segmentBytes } = store.geometry;
    const low = Math.max(LOW_SEGMENTS_MIN, Math.min(LOW_SEGMENTS_MAX, segmentCount >> 6));
    this.#lowSegments = MOVER_SEGMENTS + low;
    this.#highSegments = MOVER_SEGMENTS + 2 * low;
    this.#fillableBytes = fillableBytes(segmentBytes, store.format.recordBytesMax);
  }

  /**
   * Sees to it that the guest's appender has room for any record. Rejects with `no-space` when
   * nothing can be freed, and as the medium does when what is in memory can not be written.
   */
  async makeRoom(): Promise<void> {
    const { guest, table } = this.#store;
    while (!guest.hasRoom) {
      guest.seal();
      if (!guest.canOpen) {
        await guest.settle();
      } else if (table.freeCount > MOVER_SEGMENTS) {
        guest.open(table.take());
        this.#cleanInBackground();
      } else if (this.#stepping !== undefined) {
        await this.#stepping;
      } else if (!(await this.#step(LIVE_SHARE_NEEDED))) {
        // Somebody else may have freed a segment meanwhile, and begun to fill it.
        if (!guest.hasRoom && table.freeCount <= MOVER_SEGMENTS) throw this.full();
      }
    }
  }

  /** The refusal of what finds no room. */
  full(): TmemError {
    const { medium, geometry, table } = this.#store;
    const most = formatSize(geometry.capacityBytes);
    const share = `${formatSize(table.liveBytes)} of at most ${most} are in use`;
    return new TmemError(
      'no-space',
      `the overflow file "${medium.name}" is full, ${share}; ` +
        'give it more, or discard what is not needed',
      { context: { file: medium.name, liveBytes: table.liveBytes } },
    );
  }

  /** Ends the work in the background, and resolves when it has. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#background;
  }

  #cleanInBackground(): void {
    const { table } = this.#store;
    if (this.#background !== undefined) return;
    if (table.freeCount >= this.#lowSegments) return;
    this.#background = this.#cleanUntilHigh().finally(() => {
      this.#background = undefined;
    });
  }

  async #cleanUntilHigh(): Promise<void> {
    try {
      while (!this.#isClosed && this.#store.table.freeCount < this.#highSegments) {
        if (!(await this.#step(LIVE_SHARE_IDLE))) return;
      }
    } catch {
      // It was counted; whoever needs a segment tries again, and is told.
    }
  }

  /** Cleans one segment, together with whoever else asks. False when there is none to clean. */
  #step(liveShare: number): Promise<boolean> {
    this.#stepping ??= this.#cleanOne(liveShare).finally(() => {
      this.#stepping = undefined;
    });
    return this.#stepping;
  }

  async #cleanOne(liveShare: number): Promise<boolean> {
    const { table } = this.#store;
    const victim = table.emptiest(Math.floor(this.#fillableBytes * liveShare));
    if (victim < 0) return this.#waitForReaders();
    table.beginRead(victim);
    let isDone: boolean;
    try {
      isDone = await this.#empty(victim);
    } finally {
      table.endRead(victim);
    }
    return isDone || this.#waitForReaders();
  }

  /** Moves what can be moved; the segment is not tried again if that is not all. */
  async #empty(victim: number): Promise<boolean> {
    const { table, statistics } = this.#store;
    if ((await this.#read(victim)) && !(await this.#moveAll(victim))) return false;
    if (table.live(victim) === 0) {
      statistics.cleanedSegments++;
    } else {
      statistics.cleanFailures++;
      table.markDamaged(victim);
    }
    return true;
  }

  /** Nothing can be moved, but a segment may be free as soon as its readers are done. */
  async #waitForReaders(): Promise<boolean> {
    const { table } = this.#store;
    if (!table.hasUnusedRead) return false;
    await table.freed();
    return true;
  }

  /** False when the segment can not be read: the others may still be. */
  async #read(victim: number): Promise<boolean> {
    const { table, medium, format, statistics } = this.#store;
    const usedBytes = SEGMENT_HEADER_BYTES + table.used(victim);
    const length = Math.ceil(usedBytes / BLOCK_BYTES) * BLOCK_BYTES;
    try {
      await medium.read(this.#memory, 0, length, this.#store.fileOffset(victim));
    } catch {
      return false;
    }
    const isHeader = format.isSegmentHeader(this.#memory, victim, table.sequence(victim));
    // Each record vouches for itself, so those that are whole are moved all the same.
    if (!isHeader) statistics.checksumFailures++;
    return true;
  }

  /**
   * Moves what is live. The map says what is: neither dead nor damaged records matter for finding
   * the next. False when there is no segment to move to.
   */
  async #moveAll(victim: number): Promise<boolean> {
    const { map, table, format, geometry } = this.#store;
    const { granuleBytes, granulesPerSegment } = geometry;
    const end = SEGMENT_HEADER_BYTES + table.used(victim);
    let at = SEGMENT_HEADER_BYTES;
    for (let sliceEnd = at + SLICE_BYTES; at < end && table.live(victim) > 0; ) {
      const location = victim * granulesPerSegment + at / granuleBytes;
      const page = format.page(this.#memory, at);
      if (map.isAt(page, location)) {
        if (!this.#store.mover.hasRoom && !(await this.#makeMoverRoom())) return false;
        const bytes = map.isAt(page, location) ? map.span(page) * granuleBytes : granuleBytes;
        this.#move(victim, page, location, at);
        at += bytes;
      } else {
        at += granuleBytes;
      }
      if (at < sliceEnd) continue;
      await turnOfTheLoop();
      sliceEnd = at + SLICE_BYTES;
    }
    return true;
  }

  /** Moves the page's record, if it is still there and whole. */
  #move(victim: number, page: number, location: number, at: number): void {
    const { map, table, format, geometry, mover, statistics } = this.#store;
    if (!map.isAt(page, location)) return;
    const bytes = map.span(page) * geometry.granuleBytes;
    const sequence = table.sequence(victim);
    if (!format.isRecord(this.#memory, at, bytes, location, sequence, page)) {
      statistics.checksumFailures++;
      return;
    }
    const encoding = format.encoding(this.#memory, at);
    const length = format.encodedLength(this.#memory, at);
    this.#store.put(mover, page, encoding, this.#memory, at + RECORD_HEADER_BYTES, length);
    statistics.cleanedRecords++;
    statistics.cleanedBytes += bytes;
  }

  async #makeMoverRoom(): Promise<boolean> {
    const { mover, table } = this.#store;
    while (!mover.hasRoom) {
      mover.seal();
      if (!mover.canOpen) await mover.settle();
      else if (table.freeCount > 0) mover.open(table.take());
      else return false;
    }
    return true;
  }
}
