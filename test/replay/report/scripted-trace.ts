/** Traces without files: requests from a list. */

import type { OpsMode } from '../../../src/replay/engine/page-stream.ts';
import { parseMemoryList } from '../../../src/replay/report/memory-sizes.ts';
import type { ReplayOptions } from '../../../src/replay/report/replay.ts';
import { OP, type Op, RequestBatch } from '../../../src/trace/request-batch.ts';
import type { Trace } from '../../../src/trace/trace.ts';

/** A request; of 4 KiB at page 0 of volume 0 unless it says otherwise. */
export interface ScriptedRequest {
  readonly page: number;
  readonly pages?: number;
  readonly op?: Op;
  readonly volume?: number;
  readonly timeUs?: number;
  readonly contentBytes?: number;
}

const PAGE_BYTES = 4096;

/** A trace of those requests, a millisecond from each to the next. */
export function scriptedTrace(
  requests: readonly ScriptedRequest[],
  facts: Partial<Omit<Trace, 'statistics' | 'hash' | 'batches'>> = {},
): Trace {
  const unit = facts.unit ?? 'bytes';
  const unitBytes = unit === 'bytes' ? PAGE_BYTES : 1;
  return {
    formatName: 'scripted',
    name: 'script',
    paths: ['/traces/script'],
    hasClock: true,
    recordName: 'line',
    sampleRate: 1,
    sampleRates: [facts.sampleRate ?? 1],
    isMergedSample: false,
    volumes: ['disk'],
    canRereads: true,
    sizeBytes: requests.length,
    doneBytes: 0,
    ...facts,
    unit,
    statistics: {
      lines: requests.length,
      requests: requests.length,
      malformed: 0,
      firstMalformed: undefined,
      dropped: 0,
      firstTimeUs: 0,
      lastTimeUs: requests.length * 1000,
      warnings: [],
    },
    hash: async () => 'ab'.repeat(32),
    async *batches() {
      const batch = new RequestBatch(100);
      for (const [at, request] of requests.entries()) {
        const { page, pages = 1, op = OP.read, volume = 0, contentBytes = 0 } = request;
        const timeUs = request.timeUs ?? at * 1000;
        batch.push(timeUs, page * unitBytes, pages * unitBytes, volume, op, 0, contentBytes);
        if (batch.count < batch.capacity && at < requests.length - 1) continue;
        yield batch;
        batch.count = 0;
      }
    },
  };
}

/** Skewed reads with some writes and a scan: enough of everything for a report. */
export function mixedRequests(count: number, pages: number): ScriptedRequest[] {
  let x = 7;
  return Array.from({ length: count }, (_, at): ScriptedRequest => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    const u = (x >>> 0) / 2 ** 32;
    if (at % 10 === 9) return { page: pages + at, pages: 2 };
    return { page: Math.floor(pages * u * u), op: at % 4 === 0 ? OP.write : OP.read };
  });
}

/** What a replay is asked for unless a test says otherwise. */
export function replayOptions(changed: Partial<ReplayOptions> = {}): ReplayOptions {
  return {
    pageBytes: PAGE_BYTES,
    ops: 'all' satisfies OpsMode,
    memory: parseMemoryList('10%,50%'),
    policies: ['s3fifo-cw', 'lru'],
    warmup: { kind: 'accesses', accesses: 0 },
    sampleRate: 1,
    seed: 1,
    threads: 0,
    engine: 'sizes',
    wantsReport: true,
    origin: { command: 'tmem replay script', files: ['script'], versions: { tmem: '1' } },
    ...changed,
  };
}
