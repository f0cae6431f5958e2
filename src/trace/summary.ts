/** What a trace holds, in numbers, from one reading in constant memory. */

import { DistinctEstimate } from './distinct.ts';
import { OP, OP_NAMES, type RequestBatch } from './request-batch.ts';
import type { Trace } from './trace.ts';

/** What footprints are counted in, bytes. */
export const SUMMARY_PAGE_BYTES = 4096;

/** Counts of one operation. */
export interface OpSummary {
  requests: number;
  bytes: number;
}

/** Counts of one volume. */
export interface VolumeSummary {
  requests: number;
  /** Where the request that reaches furthest ends, bytes. */
  endBytes: number;
}

/** Adds up the requests of a trace. */
export class TraceSummary {
  readonly ops: readonly OpSummary[] = OP_NAMES.map(() => ({ requests: 0, bytes: 0 }));
  readonly volumes: VolumeSummary[] = [];
  /** Accesses to pages of 4 KiB that the requests stand for; of a trace of keys, requests. */
  pageAccesses = 0;
  readonly distinctPages = new DistinctEstimate();
  /** Requests of which both ends lie on a page's. */
  alignedRequests = 0;
  /** Requests that are before the one before them. */
  outOfOrder = 0;
  #lastTimeUs = Number.NEGATIVE_INFINITY;

  add(batch: RequestBatch, unit: Trace['unit']): void {
    for (let index = 0; index < batch.count; index++) {
      const timeUs = batch.timeUs[index]!;
      if (timeUs < this.#lastTimeUs) this.outOfOrder++;
      this.#lastTimeUs = timeUs;
      this.#addRange(batch, index, unit);
    }
  }

  #addRange(batch: RequestBatch, index: number, unit: Trace['unit']): void {
    const offset = batch.offset[index]!;
    const length = batch.length[index]!;
    const number = batch.volume[index]!;
    const op = batch.op[index]!;
    const counts = this.ops[op];
    if (counts === undefined) return;
    counts.requests++;
    counts.bytes += unit === 'keys' ? batch.contentBytes[index]! : length;
    this.volumes[number] ??= { requests: 0, endBytes: 0 };
    const volume = this.volumes[number];
    volume.requests++;
    volume.endBytes = Math.max(volume.endBytes, offset + length);
    if (offset % SUMMARY_PAGE_BYTES === 0 && length % SUMMARY_PAGE_BYTES === 0) {
      this.alignedRequests++;
    }
    // What a trim or a flush names is not accessed.
    if (op === OP.trim || op === OP.flush || length === 0) return;
    const pageBytes = unit === 'keys' ? 1 : SUMMARY_PAGE_BYTES;
    const end = Math.ceil((offset + length) / pageBytes);
    const first = Math.floor(offset / pageBytes);
    this.pageAccesses += end - first;
    for (let page = first; page < end; page++) this.distinctPages.add(number, page);
  }
}
