/** A scrape as a test reads it, and sources for one: a real stack, the rest at hand-set numbers. */

import { loadCodec } from '../../src/layers/codec.ts';
import { Metrics } from '../../src/metrics/metrics.ts';
import type {
  AdvisorSource,
  ExportSource,
  ImageSource,
  MetricsSources,
  OverflowSource,
} from '../../src/metrics/sources.ts';
import { NbdErrno } from '../../src/nbd/protocol.ts';
import {
  COMMAND_NAMES,
  LATENCY_BOUNDS_SECONDS,
  ServerStatistics,
} from '../../src/nbd/statistics.ts';
import { createStack } from '../../src/service/stack.ts';
import { PUT_OUTCOME_NAMES } from '../../src/tmem/layer.ts';

const MIB = 1024 * 1024;

/** hot over zcache in `memoryBytes`. */
export function smallStack(memoryBytes = 8 * MIB) {
  return createStack({
    memoryBytes,
    hotFraction: 0.25,
    pageBytesMax: 8192,
    policyName: 's3fifo-cw',
    codec: loadCodec(),
  }).tmem;
}

/** An export of that name that did nothing yet. */
export function quietExport(name: string, poolId = 1): ExportSource {
  const counters = () => ({ requests: 0, bytes: 0, failures: 0 });
  return {
    name,
    sizeBytes: MIB,
    mode: 'writethrough',
    pageBytes: 4096,
    writeBack: {
      tier: { table: { count: 0, troubledCount: 0, lostCount: 0, metadataBytes: 0 } },
      limitPages: 256,
      writer: {
        statistics: { writtenPages: 0, runs: 0, failures: 0, redirtiedPages: 0, cleanPages: 0 },
      },
      statistics: { fallThroughPages: 0, mergedPages: 0, waits: 0 },
    },
    reads: {
      statistics: { readHits: 0, readMisses: 0, joinedPages: 0, aheadPages: 0 },
      readAhead: { usedPages: 0, wastedPages: 0 },
    },
    image: { counters: { read: counters(), write: counters(), sync: counters() } },
    cache: { hits: 0, misses: 0, pool: { id: poolId } },
  };
}

/** An image in a format with tables, of which nothing was asked. */
function quietImage(name: string): ImageSource {
  const tables = { hits: 0, misses: 0, evictions: 0, bytes: 0, limitBytes: MIB };
  return { name, formatName: 'qcow2', poolId: 1, reads: 0, tables };
}

/** An overflow file of that export with nothing in it. */
function quietOverflow(name: string): OverflowSource {
  const statistics = { recordsWritten: 0, cleanedRecords: 0, checksumFailures: 0 };
  return { name, liveBytes: 0, deadBytes: 0, capacityBytes: MIB, metadataBytes: 0, statistics };
}

/** An advisor that was told of a little. */
function quietAdvisor(): AdvisorSource {
  const band = { missRatio: 0.5, low: 0.4, high: 0.6 };
  return {
    ...{ sampledPages: 1, sampledReads: 2, footprintPages: 3, gap: -0.1 },
    sizes: [{ memory: 0.5, policy: 'arc', bytes: MIB, ...band }],
    others: [{ memory: 1, policy: 'lirs', bytes: 2 * MIB, ...band }],
    curve: [{ pages: 64, ...band }],
  };
}

/** Sources of a service at rest, but for what a test gives. */
export function sourcesOf(given: Partial<MetricsSources> = {}): MetricsSources {
  return {
    build: { version: '1.2.3', node: '20.0.0', codec: 'lz4 (native)' },
    layers: smallStack().layers,
    exports: [quietExport('disk')],
    bases: () => [],
    images: () => [quietImage('/disk.qcow2')],
    copies: () => [{ exportName: 'disk', doneBytes: 0 }],
    advisors: () => quietAdvisor(),
    server: new ServerStatistics(),
    memory: { limitBytes: 64 * MIB, bufferBytes: () => 3 * MIB },
    accounts: () => [{ name: 'disk', usedBytes: 0 }],
    governor: () => ({ targetBytes: 56 * MIB, cuts: { psi: 0 }, shrunkBytes: 0, isStuck: false }),
    overflows: [quietOverflow('disk')],
    snapshot: () => undefined,
    recording: () => ({ isRecording: false, requests: 0, dropped: 0, bytes: 0 }),
    process: () => ({
      residentBytes: 1,
      heapUsedBytes: 2,
      externalBytes: 3,
      cpuSeconds: 4,
      startTimeSeconds: 5,
      loopActiveSeconds: 6,
      loopIdleSeconds: 7,
      loopLagSeconds: 8,
    }),
    vocabulary: {
      putOutcomes: PUT_OUTCOME_NAMES,
      commands: COMMAND_NAMES,
      errnos: NbdErrno,
      latencyBoundsSeconds: LATENCY_BOUNDS_SECONDS,
    },
    ...given,
  };
}

/** The samples of a scrape, by what precedes the number: `name{label="value",…}`. */
export function samplesOf(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const at = line.lastIndexOf(' ');
    const series = line.slice(0, at);
    if (samples.has(series)) throw new Error(`twice in one scrape: ${series}`);
    samples.set(series, Number(line.slice(at + 1)));
  }
  return samples;
}

/** The samples of one scrape of these sources. */
export async function scrape(sources: MetricsSources): Promise<Map<string, number>> {
  return samplesOf(await new Metrics(sources).scrape());
}

/** The sum of the samples whose series begins so. */
export function sumOf(samples: ReadonlyMap<string, number>, start: string): number {
  let sum = 0;
  for (const [series, value] of samples) if (series.startsWith(start)) sum += value;
  return sum;
}
