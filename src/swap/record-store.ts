/** The pages of a swap device and their records: what the map, the segments and the appenders are together. */

import type { Encoding } from '../tmem/layer.ts';
import { Appender, type AppenderStatistics, type SegmentMedium } from './appender.ts';
import type { Geometry } from './geometry.ts';
import { PageMap } from './page-map.ts';
import { FILE_HEADER_BYTES, RecordFormat, SEGMENT_HEADER_BYTES } from './record.ts';
import { SegmentTable } from './segment-table.ts';

/** Counters, plain fields; they only grow. */
export interface OverflowStatistics extends AppenderStatistics {
  /** Pages written as records, and their bytes before and after; same-filled pages are not counted. */
  recordsWritten: number;
  originalBytes: number;
  storedBytes: number;
  /** Records that the cleaner moved, their bytes, and the segments that it emptied. */
  cleanedRecords: number;
  cleanedBytes: number;
  cleanedSegments: number;
  /** Segments that the cleaner could not read, or not whole. */
  cleanFailures: number;
  /** Records and segment headers that were not what had been written. */
  checksumFailures: number;
}

/** Where a page was at some moment, to be compared with where it is later. */
export interface Whereabouts {
  readonly span: number;
  readonly location: number;
  readonly sequence: number;
}

/** Knows where every page is, and keeps the account of it. Reads nothing by itself. */
export class RecordStore {
  readonly geometry: Geometry;
  readonly medium: SegmentMedium;
  readonly map: PageMap;
  readonly table: SegmentTable;
  readonly format: RecordFormat;
  /** Takes what the device is given, and what the cleaner moves: pages of a kind stay together. */
  readonly guest: Appender;
  readonly mover: Appender;
  readonly statistics: OverflowStatistics = {
    recordsWritten: 0,
    originalBytes: 0,
    storedBytes: 0,
    cleanedRecords: 0,
    cleanedBytes: 0,
    cleanedSegments: 0,
    cleanFailures: 0,
    checksumFailures: 0,
    segmentsWritten: 0,
    writtenBytes: 0,
    writeFailures: 0,
  };

  /** `memory` is four segments, aligned. */
  constructor(
    pageCount: number,
    geometry: Geometry,
    deviceId: Buffer,
    medium: SegmentMedium,
    memory: Buffer,
  ) {
    const { pageBytes, granuleBytes, segmentBytes, segmentCount } = geometry;
    this.geometry = geometry;
    this.medium = medium;
    this.map = new PageMap(pageCount);
    this.table = new SegmentTable(segmentCount);
    this.format = new RecordFormat(deviceId, pageBytes, granuleBytes);
    const appender = (at: number) => {
      const buffers = memory.subarray(at, at + 2 * segmentBytes);
      const { table, format, statistics } = this;
      const advance = (bytes: Buffer, segment: number) => this.#advance(bytes, segment);
      return new Appender(medium, table, format, geometry, buffers, statistics, advance);
    };
    this.guest = appender(0);
    this.mover = appender(2 * segmentBytes);
  }

  get metadataBytes(): number {
    return this.map.metadataBytes + this.table.metadataBytes;
  }

  /** Whether the page may have a record of that many bytes, without more being live than may be. */
  hasCapacity(page: number, bytes: number): boolean {
    const { map, table, geometry } = this;
    const before = map.hasRecord(page) ? map.span(page) * geometry.granuleBytes : 0;
    return table.liveBytes - before + bytes <= geometry.capacityBytes;
  }

  /** Gives the page a record in the appender's segment, which has room. The page's last one is dead. */
  put(
    appender: Appender,
    page: number,
    encoding: Encoding,
    encoded: Buffer,
    encodedOffset: number,
    length: number,
  ): void {
    const location = appender.append(page, encoding, encoded, encodedOffset, length);
    this.drop(page);
    const span = this.format.recordBytes(length) / this.geometry.granuleBytes;
    this.map.setRecord(page, location, span);
  }

  /** The page repeats the word. */
  fill(page: number, word: number): void {
    this.drop(page);
    this.map.setFilled(page, word);
  }

  /** The page reads as zeros. */
  drop(page: number): void {
    const { map, table } = this;
    if (map.hasRecord(page)) {
      const segment = this.segmentOf(map.location(page));
      table.remove(segment, map.span(page) * this.geometry.granuleBytes);
      if (table.live(segment) === 0) {
        this.guest.reset(segment);
        this.mover.reset(segment);
      }
    }
    map.clear(page);
  }

  /**
   * Gives what is live in `bytes`, which a segment has in memory, places in the first free segment of
   * the file, and answers which; -1, and nothing is moved, when none lies before it, or when a record
   * is damaged: its new checksum would say that it is whole.
   */
  #advance(bytes: Buffer, segment: number): number {
    const { map, table, format, geometry } = this;
    const { granuleBytes, granulesPerSegment } = geometry;
    const to = table.takeBefore(segment);
    if (to < 0) return -1;
    const places = this.#livePlaces(bytes, segment);
    if (places === undefined) {
      table.leaveMemory(to); // free again
      return -1;
    }
    for (const at of places) {
      const location = to * granulesPerSegment + at / granuleBytes;
      format.move(bytes, at, location, table.sequence(to));
      map.moveRecord(format.page(bytes, at), location);
    }
    table.replace(segment, to);
    return to;
  }

  /** Where in `bytes` the segment's live records are; undefined unless all of them are whole. */
  #livePlaces(bytes: Buffer, segment: number): readonly number[] | undefined {
    const { map, table, format, geometry } = this;
    const { granuleBytes, granulesPerSegment } = geometry;
    const sequence = table.sequence(segment);
    const end = SEGMENT_HEADER_BYTES + table.used(segment);
    const places: number[] = [];
    let liveBytes = 0;
    for (let at = SEGMENT_HEADER_BYTES; at < end; at += granuleBytes) {
      const page = format.page(bytes, at);
      const location = segment * granulesPerSegment + at / granuleBytes;
      if (!map.isAt(page, location)) continue;
      const length = map.span(page) * granuleBytes;
      if (!format.isRecord(bytes, at, length, location, sequence, page)) return undefined;
      places.push(at);
      liveBytes += length;
    }
    return liveBytes === table.live(segment) ? places : undefined;
  }

  segmentOf(location: number): number {
    return Math.floor(location / this.geometry.granulesPerSegment);
  }

  /** Bytes from the start of its segment. */
  offsetInSegment(location: number): number {
    const { granulesPerSegment, granuleBytes } = this.geometry;
    return (location % granulesPerSegment) * granuleBytes;
  }

  /** Where in the file a segment begins. */
  fileOffset(segment: number): number {
    return FILE_HEADER_BYTES + segment * this.geometry.segmentBytes;
  }

  /** The segment's bytes while it is in memory. */
  bytesOf(segment: number): Buffer | undefined {
    return this.guest.bytesOf(segment) ?? this.mover.bytesOf(segment);
  }

  /** Where the page is now. */
  whereabouts(page: number): Whereabouts {
    const { map, table } = this;
    const location = map.location(page);
    const sequence = map.hasRecord(page) ? table.sequence(this.segmentOf(location)) : 0;
    return { span: map.span(page), location, sequence };
  }

  /** Whether the page is what it was then: places are used again, but not in the same incarnation. */
  isStill(page: number, then: Whereabouts): boolean {
    const now = this.whereabouts(page);
    return (
      now.span === then.span && now.location === then.location && now.sequence === then.sequence
    );
  }
}
