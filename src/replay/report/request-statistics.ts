/**
 * What a trace asks for, counted while it is read, in memory that does not grow with it: kinds and
 * sizes of requests, how many are sequential, what is asked when and where.
 */

import { OP, type RequestBatch } from '../../trace/request-batch.ts';
import { HeatMap } from './heat-map.ts';
import { TimeAxis, TimeGrid } from './time-axis.ts';
import { VolumeStatistics } from './volume-statistics.ts';

/** Sizes are counted by powers of two, up to 2^31 bytes and more. */
const SIZE_CLASSES = 32;
/** Volumes that get a heat map: the first to be seen. Each takes 64 KiB. */
const HEAT_MAPS_MAX = 64;

/** The rows of `RequestStatistics.mix`. */
export const MIX = {
  reads: 0,
  writes: 1,
  sequential: 2,
  readBytes: 3,
  writeBytes: 4,
} as const;

/** How the trace is to be counted. */
export interface RequestStatisticsOptions {
  /** Of a trace of keys every address is one object. */
  readonly unit: 'bytes' | 'keys';
  /** Bytes a page, by which accesses are counted as a page stream counts them. */
  readonly pageBytes: number;
}

/** Counters of all requests; `add` copies what it needs of a batch. */
export class RequestStatistics {
  requests = 0;
  /** Pages that reads touch, each time; and those that writes and write-zeroes touch. */
  readPages = 0;
  writePages = 0;
  /** Bytes of those requests whose compressed size is known, and what they compress to; not of keys. */
  knownBytes = 0;
  knownCompressedBytes = 0;
  readonly volumes = new VolumeStatistics();
  readonly axis = new TimeAxis();
  /** `MIX` over time. */
  readonly mix = this.axis.adopt(new TimeGrid(Object.keys(MIX).length));
  /** Reads and writes by size: class k holds what is longer than 2^(k-1) and at most 2^k bytes. */
  readonly readSizes = new Float64Array(SIZE_CLASSES);
  readonly writeSizes = new Float64Array(SIZE_CLASSES);
  /** By volume; the first volumes have one. */
  readonly heatMaps: HeatMap[] = [];
  private readonly unit: 'bytes' | 'keys';
  private readonly pageBytes: number;
  private readonly rowBytesMin: number;

  constructor({ unit, pageBytes }: RequestStatisticsOptions) {
    this.unit = unit;
    this.pageBytes = unit === 'keys' ? 1 : pageBytes;
    this.rowBytesMin = unit === 'keys' ? 1 : 4096;
  }

  /** Counts the requests of a batch. */
  add(batch: RequestBatch): void {
    const { count, op } = batch;
    this.requests += count;
    for (let at = 0; at < count; at++) {
      const volume = batch.volume[at]!;
      this.volumes.meet(volume);
      const kind = op[at]!;
      if (kind === OP.flush) this.volumes.add(volume, 'flushes', 1);
      else if (kind === OP.trim) this.volumes.add(volume, 'trims', 1);
      else this.addTransfer(batch, at, kind === OP.read);
    }
  }

  private addTransfer(batch: RequestBatch, at: number, isRead: boolean): void {
    const { volumes, mix } = this;
    const volume = batch.volume[at]!;
    const offset = batch.offset[at]!;
    const length = batch.length[at]!;
    const column = this.axis.columnOf(batch.timeUs[at]!);
    const isSequential = volumes.continues(volume, offset, length);
    volumes.add(volume, isRead ? 'reads' : 'writes', 1);
    volumes.add(volume, isRead ? 'readBytes' : 'writeBytes', length);
    mix.add(isRead ? MIX.reads : MIX.writes, column, 1);
    mix.add(isRead ? MIX.readBytes : MIX.writeBytes, column, length);
    if (isSequential) {
      volumes.add(volume, isRead ? 'sequentialReads' : 'sequentialWrites', 1);
      mix.add(MIX.sequential, column, 1);
    }
    this.addSize(isRead ? this.readSizes : this.writeSizes, length);
    this.addPages(offset, length, isRead);
    this.heatMapOf(volume)?.note(column, offset, length);
    const compressed = batch.contentBytes[at]!;
    if (compressed > 0 && this.unit === 'bytes') {
      this.knownBytes += length;
      this.knownCompressedBytes += compressed;
    }
  }

  private addSize(sizes: Float64Array, length: number): void {
    if (length === 0) return;
    const sizeClass = Math.min(SIZE_CLASSES - 1, Math.ceil(Math.log2(length)));
    sizes[sizeClass] = sizes[sizeClass]! + 1;
  }

  private addPages(offset: number, length: number, isRead: boolean): void {
    if (length === 0) return;
    const first = Math.floor(offset / this.pageBytes);
    const pages = Math.floor((offset + length - 1) / this.pageBytes) - first + 1;
    if (isRead) this.readPages += pages;
    else this.writePages += pages;
  }

  private heatMapOf(volume: number): HeatMap | undefined {
    if (volume >= HEAT_MAPS_MAX) return undefined;
    while (this.heatMaps.length <= volume) {
      this.heatMaps.push(this.axis.adopt(new HeatMap(this.rowBytesMin)));
    }
    return this.heatMaps[volume];
  }
}
