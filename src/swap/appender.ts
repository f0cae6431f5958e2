/**
 * Where records are added: a segment that fills in memory and goes to the file in one write. Of its
 * two buffers one fills while the other is written. What is in a buffer is read from there, and
 * stays there until it has been written: a write that fails loses nothing, and is tried again when
 * the next buffer is full, where the disk is full at a place that the file has already. Nothing here
 * allocates.
 */

import { TmemError } from '../lib/errors.ts';
import type { Storage } from '../storage/storage.ts';
import type { Encoding } from '../tmem/layer.ts';
import { fillableBytes, type Geometry } from './geometry.ts';
import { FILE_HEADER_BYTES, type RecordFormat, SEGMENT_HEADER_BYTES } from './record.ts';
import type { SegmentTable } from './segment-table.ts';

/** What the segments are kept on; its buffers are used until each call settles. */
export type SegmentMedium = Pick<Storage, 'name' | 'read' | 'write' | 'close'>;

/** Lengths and places on the file are multiples of this, for the sake of O_DIRECT. */
export const BLOCK_BYTES = 4096;

interface Filling {
  readonly bytes: Buffer;
  segment: number; // -1: none
  usedBytes: number;
}

/** Counters, plain fields. */
export interface AppenderStatistics {
  segmentsWritten: number;
  writtenBytes: number;
  writeFailures: number;
}

export class Appender {
  readonly #medium: SegmentMedium;
  readonly #table: SegmentTable;
  readonly #format: RecordFormat;
  readonly #geometry: Geometry;
  readonly #statistics: AppenderStatistics;
  readonly #advance: (bytes: Buffer, segment: number) => number;
  readonly #fullBytes: number; // a segment with more in it has no room for every record
  #open: Filling;
  #sealed: Filling; // on its way to the file, or empty
  #writing: Promise<void> | undefined;

  /**
   * `memory` is two segments, aligned to `BLOCK_BYTES`. `advance` gives the records of a segment in
   * memory places in a free one nearer to the start of the file, and answers which; -1 for none.
   */
  constructor(
    medium: SegmentMedium,
    table: SegmentTable,
    format: RecordFormat,
    geometry: Geometry,
    memory: Buffer,
    statistics: AppenderStatistics,
    advance: (bytes: Buffer, segment: number) => number,
  ) {
    this.#medium = medium;
    this.#table = table;
    this.#format = format;
    this.#geometry = geometry;
    this.#statistics = statistics;
    this.#advance = advance;
    const { segmentBytes } = geometry;
    const fillable = fillableBytes(segmentBytes, format.recordBytesMax);
    this.#fullBytes = SEGMENT_HEADER_BYTES + fillable;
    this.#open = { bytes: memory.subarray(0, segmentBytes), segment: -1, usedBytes: 0 };
    this.#sealed = { bytes: memory.subarray(segmentBytes), segment: -1, usedBytes: 0 };
  }

  /** Whether any record finds room now. */
  get hasRoom(): boolean {
    return this.#open.segment >= 0 && this.#open.usedBytes <= this.#fullBytes;
  }

  /** Whether `open` may be called: there is a buffer, and no segment in it. */
  get canOpen(): boolean {
    return this.#open.segment < 0;
  }

  /** Begins to fill a segment that the caller has taken. */
  open(segment: number): void {
    this.#open.segment = segment;
    this.#open.usedBytes = SEGMENT_HEADER_BYTES;
  }

  /** A full segment begins its way to the file, if the one before has arrived. */
  seal(): void {
    if (this.#open.segment < 0 || this.hasRoom || this.#sealed.segment >= 0) return;
    const sealed = this.#open;
    this.#open = this.#sealed;
    this.#sealed = sealed;
    // What fails here is told to whoever needs the buffer next, by `settle`.
    this.settle().catch(() => {});
  }

  /**
   * Resolves when no segment is on its way. Rejects as the medium does; the segment is then still
   * in memory, and the next call tries again.
   */
  settle(): Promise<void> {
    if (this.#sealed.segment < 0) return Promise.resolve();
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  /** Adds a record, and answers its place. There must be room. */
  append(
    page: number,
    encoding: Encoding,
    encoded: Buffer,
    encodedOffset: number,
    length: number,
  ): number {
    const open = this.#open;
    const { granuleBytes, granulesPerSegment } = this.#geometry;
    const at = open.usedBytes;
    const location = open.segment * granulesPerSegment + at / granuleBytes;
    const sequence = this.#table.sequence(open.segment);
    const format = this.#format;
    format.write(
      open.bytes,
      at,
      location,
      sequence,
      page,
      encoding,
      encoded,
      encodedOffset,
      length,
    );
    const bytes = format.recordBytes(length);
    open.usedBytes += bytes;
    this.#table.add(open.segment, bytes);
    return location;
  }

  /** The bytes of a segment that is here; undefined when it is on the file. */
  bytesOf(segment: number): Buffer | undefined {
    if (this.#open.segment === segment) return this.#open.bytes;
    return this.#sealed.segment === segment ? this.#sealed.bytes : undefined;
  }

  /** Nothing in the segment is live any more: if it is here, its buffer is of use again. */
  reset(segment: number): void {
    if (this.#open.segment === segment) {
      this.#table.renew(segment);
      this.#open.usedBytes = SEGMENT_HEADER_BYTES;
    } else if (this.#sealed.segment === segment && this.#writing === undefined) {
      this.#release();
    }
  }

  async #write(): Promise<void> {
    const sealed = this.#sealed;
    try {
      await this.#writeSealed().catch((cause: unknown) => {
        if (!isFull(cause) || !this.#moveSealed()) throw cause;
        return this.#writeSealed();
      });
    } catch (cause) {
      this.#statistics.writeFailures++;
      // What nobody needs any more need not be tried again.
      if (this.#table.live(sealed.segment) > 0) throw cause;
    }
    this.#release();
  }

  async #writeSealed(): Promise<void> {
    const { bytes, segment, usedBytes } = this.#sealed;
    this.#format.writeSegmentHeader(bytes, segment, this.#table.sequence(segment));
    const end = Math.ceil(usedBytes / BLOCK_BYTES) * BLOCK_BYTES;
    bytes.fill(0, usedBytes, end);
    const offset = FILE_HEADER_BYTES + segment * this.#geometry.segmentBytes;
    await this.#medium.write(bytes, 0, end, offset);
    this.#statistics.segmentsWritten++;
    this.#statistics.writtenBytes += end;
  }

  /** A full disk still takes what goes over something that the file holds already. */
  #moveSealed(): boolean {
    const sealed = this.#sealed;
    if (this.#table.live(sealed.segment) === 0) return false;
    const segment = this.#advance(sealed.bytes, sealed.segment);
    if (segment >= 0) sealed.segment = segment;
    return segment >= 0;
  }

  #release(): void {
    const { segment } = this.#sealed;
    this.#sealed.segment = -1;
    this.#table.leaveMemory(segment);
  }
}

function isFull(cause: unknown): boolean {
  return cause instanceof TmemError && cause.kind === 'no-space';
}
