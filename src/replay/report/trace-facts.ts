/** What the report says of the trace itself, and of the requests in it. */

import type { Trace } from '../../trace/trace.ts';
import type { RunResult } from '../engine/run.ts';
import type { ReadTrace } from './read-trace.ts';
import type {
  HeatMapFacts,
  MixFacts,
  ReplayReport,
  TraceFacts,
  VolumeFacts,
  WorkloadFacts,
} from './report.ts';
import { MIX, type RequestStatistics } from './request-statistics.ts';
import type { VolumeCounter } from './volume-statistics.ts';

/** The busiest volumes get a heat map in the report. */
const HEAT_MAPS_SHOWN = 3;
const US_PER_SECOND = 1e6;

/** `files` is what the user calls them. Reads the files once more, for their hash. */
export async function traceFactsOf(trace: Trace, files: readonly string[]): Promise<TraceFacts> {
  const { name, formatName, unit, statistics } = trace;
  return {
    name,
    formatName,
    unit,
    files,
    sha256: trace.canRereads ? await trace.hash() : null,
    malformed: statistics.malformed,
    warnings: statistics.warnings,
  };
}

function sumOf({ volumes }: RequestStatistics, counter: VolumeCounter): number {
  let sum = 0;
  for (let volume = 0; volume < volumes.count; volume++) sum += volumes.get(volume, counter);
  return sum;
}

/** The workload in numbers. */
export function workloadOf(read: ReadTrace, coldMissRatio: number): WorkloadFacts {
  const { statistics, trace } = read;
  const { firstTimeUs, lastTimeUs } = trace.statistics;
  const { knownBytes, knownCompressedBytes } = statistics;
  const sum = (counter: VolumeCounter) => sumOf(statistics, counter);
  return {
    requests: statistics.requests,
    accesses: read.accesses,
    reads: sum('reads'),
    writes: sum('writes'),
    trims: sum('trims'),
    flushes: sum('flushes'),
    readBytes: sum('readBytes'),
    writeBytes: sum('writeBytes'),
    sequential: sum('sequentialReads') + sum('sequentialWrites'),
    footprintPages: read.footprintPages,
    coldMissRatio,
    seconds: trace.hasClock ? Math.max(0, (lastTimeUs - firstTimeUs) / US_PER_SECOND) : 0,
    compressionRatio: knownCompressedBytes > 0 ? knownBytes / knownCompressedBytes : null,
  };
}

/** Every volume that was asked for anything, the busiest first. */
export function volumesOf(read: ReadTrace, result: RunResult | undefined): VolumeFacts[] {
  const { statistics, stream, trace } = read;
  const { volumes } = statistics;
  const pages = new Float64Array(volumes.count);
  for (const volume of stream.volumeOfPage) pages[volume] = pages[volume]! + 1;
  const share = (part: number, all: number) => (all === 0 ? 0 : part / all);
  const facts = Array.from({ length: volumes.count }, (_, volume): VolumeFacts => {
    const of = (counter: VolumeCounter) => volumes.get(volume, counter);
    const accesses = result?.volumes.requests[volume] ?? 0;
    return {
      name: trace.volumes[volume] ?? String(volume),
      reads: of('reads'),
      writes: of('writes'),
      readBytes: of('readBytes'),
      writeBytes: of('writeBytes'),
      sequentialReads: share(of('sequentialReads'), of('reads')),
      sequentialWrites: share(of('sequentialWrites'), of('writes')),
      footprintPages: Math.round((pages[volume] ?? 0) / stream.sampleRate),
      accesses: Math.round(accesses / stream.sampleRate),
      hitRatio: share(result?.volumes.hits[volume] ?? 0, accesses),
    };
  });
  return facts
    .filter(({ reads, writes }) => reads + writes > 0)
    .sort((one, other) => other.accesses - one.accesses);
}

/** Kinds of requests over time. */
export function mixOf({ mix, axis }: RequestStatistics, hasClock: boolean): MixFacts {
  const row = (name: keyof typeof MIX) => mix.row(MIX[name], axis.used);
  return {
    columnWidth: axis.widthUs / (hasClock ? US_PER_SECOND : 1),
    reads: row('reads'),
    writes: row('writes'),
    sequential: row('sequential'),
    readBytes: row('readBytes'),
    writeBytes: row('writeBytes'),
  };
}

/** Requests by size, from the smallest that is there to the largest. */
export function sizesOf({ readSizes, writeSizes }: RequestStatistics): ReplayReport['sizes'] {
  const classes = [...readSizes].map((reads, at) => ({
    bytesMax: 2 ** at,
    reads,
    writes: writeSizes[at] ?? 0,
  }));
  const isUsed = ({ reads, writes }: { reads: number; writes: number }) => reads + writes > 0;
  const first = classes.findIndex(isUsed);
  const last = classes.findLastIndex(isUsed);
  return first === -1 ? [] : classes.slice(first, last + 1);
}

/** Heat maps of the busiest volumes that have one. */
export function heatMapsOf({ statistics, trace }: ReadTrace): HeatMapFacts[] {
  const { heatMaps, axis, volumes } = statistics;
  const bytesOf = (volume: number) =>
    volumes.get(volume, 'readBytes') + volumes.get(volume, 'writeBytes');
  return heatMaps
    .map((map, volume) => ({ map, volume }))
    .filter(({ volume }) => bytesOf(volume) > 0)
    .sort((one, other) => bytesOf(other.volume) - bytesOf(one.volume))
    .slice(0, HEAT_MAPS_SHOWN)
    .map(({ map, volume }) => ({
      volume: trace.volumes[volume] ?? String(volume),
      columnWidth: axis.widthUs / (trace.hasClock ? US_PER_SECOND : 1),
      rowBytes: map.rowBytes,
      rows: Array.from({ length: map.used }, (_, row) => map.row(row, axis.used)),
    }));
}
