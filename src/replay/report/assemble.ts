/** Makes the report of what a replay found. */

import { HOT_FRACTION_DEFAULT } from '../../layers/hot-bytes.ts';
import { type StackDistances, stackDistancesOf } from '../curves/lru-curve.ts';
import type { PageStream } from '../engine/page-stream.ts';
import { runAll } from '../engine/run-all.ts';
import { overTimeOf } from './over-time.ts';
import {
  footprintOverTime,
  type Point,
  popularityOf,
  type ReuseDistances,
  reuseDistancesOf,
} from './page-statistics.ts';
import type { PolicyRun, PolicyRunsOptions } from './policy-runs.ts';
import type { ReadTrace } from './read-trace.ts';
import type { ReplayOptions } from './replay.ts';
import {
  type Advice,
  type CurveFacts,
  type CurvePoint,
  FLOOR_POLICY,
  REPORT_VERSION,
  type ReplayReport,
  type RunFacts,
  type ScanDamageFacts,
  type TierTable,
} from './report.ts';
import { damageOf, SCAN_TOUCHES, scanPagesFor, withScan } from './scan-damage.ts';
import { measuredTiersOf, tiersOf } from './tiers.ts';
import { heatMapsOf, mixOf, sizesOf, traceFactsOf, volumesOf, workloadOf } from './trace-facts.ts';

/** Points of the exact LRU curve, besides the sizes that were run. */
const LRU_POINTS = 96;
const FOOTPRINT_POINTS = 100;
/** What is assumed of pages whose compressed size nobody recorded. */
const RATIO_ASSUMED = 2;
/** Scan damage that is worth a warning, and damage that is not. */
const SCAN_HARMFUL = 0.5;
const SCAN_HARMLESS = 0.1;

/** What a replay found. */
export interface Findings {
  readonly read: ReadTrace;
  readonly options: ReplayOptions;
  /** All runs, and those of them that were asked for, which come first. */
  readonly done: readonly PolicyRun[];
  readonly asked: readonly PolicyRun[];
  readonly settings: PolicyRunsOptions;
  /** The share of first uses among the accesses that count. */
  readonly coldMissRatio: number;
  readonly advice: Advice;
}

/** The report; runs the scans that it shows. */
export async function assembleReport(findings: Findings): Promise<ReplayReport> {
  const { read, options, done, asked, settings, coldMissRatio, advice } = findings;
  const { trace, stream, statistics } = read;
  const { unit } = trace;
  const isFull = options.engine === 'full';
  const scanDamage = isFull ? null : await scanDamageOf(findings, advice, settings);
  // Not before the scans, since then there would be the memory of both.
  const warmup = Math.round(read.warmupAccesses * stream.sampleRate);
  const distances = stackDistancesOf(stream, warmup);
  const curves = curvesOf(findings, distances);
  const runs = asked.map(({ facts }) => facts);
  const chosen = done.find(
    ({ facts }) => facts.policy === advice.policy && facts.capacityPages === advice.capacityPages,
  );
  const workload = workloadOf(read, coldMissRatio);
  return {
    version: REPORT_VERSION,
    trace: await traceFactsOf(trace, options.origin.files),
    settings: {
      command: options.origin.command,
      versions: options.origin.versions,
      pageBytes: stream.pageBytes,
      ops: options.ops,
      engine: options.engine,
      sampleRate: stream.sampleRate,
      warmupAccesses: read.warmupAccesses,
      seed: options.seed,
    },
    workload,
    advice: { ...advice, notes: [...scanNotes(advice, scanDamage), ...advice.notes] },
    runs,
    curves,
    overTime: overTimeOf(stream, done, advice.capacityPages),
    tiers: isFull
      ? measuredTiersOf(asked, advice.policy)
      : unit === 'bytes'
        ? tierTableOf(findings, curves, advice, workload.compressionRatio)
        : null,
    scanDamage,
    volumes: volumesOf(read, chosen?.result),
    footprint: scaledFootprint(stream),
    reuse: scaledReuse(reuseDistancesOf(distances), stream.sampleRate),
    popularity: popularityOf(stream),
    mix: mixOf(statistics, trace.hasClock),
    sizes: unit === 'bytes' ? sizesOf(statistics) : [],
    heatMaps: heatMapsOf(read),
  };
}

/** The curve of each policy through its runs; of a whole trace, that of LRU at many more sizes. */
function curvesOf({ done, read, options }: Findings, distances: StackDistances): CurveFacts[] {
  const policies = [...new Set(done.map(({ facts }) => facts.policy))];
  const isSample = read.stream.sampleRate < 1;
  return policies.map((policy): CurveFacts => {
    const points = done
      .filter(({ facts }) => facts.policy === policy)
      .map(({ facts }) => pointOf(facts));
    if (isSample) return { policy, found: 'sampled', points };
    if (policy !== 'lru' || options.engine === 'full')
      return { policy, found: 'simulated', points };
    return { policy, found: 'stack distance', points: lruPoints(points, distances) };
  });
}

function pointOf({ capacityPages, missRatio, missRatioLow, missRatioHigh }: RunFacts): CurvePoint {
  if (missRatioLow === null || missRatioHigh === null) return { pages: capacityPages, missRatio };
  return { pages: capacityPages, missRatio, low: missRatioLow, high: missRatioHigh };
}

/** The sizes that were run, and others between the first and the last, evenly by their logarithm. */
function lruPoints(points: readonly CurvePoint[], distances: StackDistances): CurvePoint[] {
  const sizes = points.map(({ pages }) => pages);
  const least = Math.min(...sizes);
  const factor = Math.max(...sizes) / least;
  for (let at = 1; at < LRU_POINTS; at++) {
    sizes.push(Math.round(least * factor ** (at / LRU_POINTS)));
  }
  return [...new Set(sizes)]
    .sort((one, other) => one - other)
    .map((pages) => ({ pages, missRatio: distances.missRatioAt(pages) }));
}

function tierTableOf(
  { asked, read, coldMissRatio }: Findings,
  curves: readonly CurveFacts[],
  { policy }: Advice,
  measuredRatio: number | null,
): TierTable {
  const known = curves.find((curve) => curve.policy === policy)?.points ?? [];
  const last = known.at(-1)?.pages ?? 0;
  // A cache that holds everything misses nothing but first uses, whatever its policy.
  const all = { pages: read.footprintPages, missRatio: coldMissRatio };
  const points = last < read.footprintPages ? [...known, all] : known;
  const [first] = asked;
  const pageBytes = first === undefined ? 1 : first.facts.capacityBytes / first.facts.capacityPages;
  const compressionRatio = measuredRatio ?? RATIO_ASSUMED;
  const sizes = [...new Set(asked.map(({ facts }) => facts.capacityBytes))];
  return {
    policy,
    hotShare: HOT_FRACTION_DEFAULT,
    compressionRatio,
    ratioFrom: measuredRatio === null ? 'assumption' : 'trace',
    contents: null,
    rows: sizes.map((bytes) =>
      tiersOf(bytes, points, { pageBytes, hotShare: HOT_FRACTION_DEFAULT, compressionRatio }),
    ),
  };
}

/** Runs every policy on the stream with a scan in it, at the recommended size. */
async function scanDamageOf(
  { done, options, read }: Findings,
  { capacityPages }: Advice,
  settings: PolicyRunsOptions,
): Promise<ReplayReport['scanDamage']> {
  const { stream } = read;
  const without = done.filter(
    ({ facts }) => facts.capacityPages === capacityPages && facts.policy !== FLOOR_POLICY,
  );
  // Of a sample, cache and scan are both as much smaller.
  const capacity = Math.max(1, Math.round(capacityPages * stream.sampleRate));
  // A cache that is larger than all there is has no more to lose than that.
  const atRisk = Math.min(capacity, stream.pageCount);
  const warmupRequests = without[0]?.result.warmup.requests ?? 0;
  const runs = SCAN_TOUCHES.flatMap((touches) =>
    without.map(({ facts: { policy } }) =>
      withScan({ policy, capacityPages: capacity, warmupRequests }, atRisk, touches),
    ),
  );
  const onProgress = (requests: number, all: number) =>
    options.onProgress?.({ phase: 'scanning', done: requests, all });
  const scanned = await runAll(stream, runs, { ...settings, onProgress });
  const damages = SCAN_TOUCHES.map((_, part) =>
    without.map(({ result }, at) =>
      damageOf(result, scanned[part * without.length + at] ?? result, atRisk),
    ),
  );
  return {
    capacityPages,
    scanPages: Math.round(scanPagesFor(atRisk) / stream.sampleRate),
    policies: without.map(({ facts }, at) => ({
      policy: facts.policy,
      onceTouched: damages[0]?.[at] ?? 0,
      twiceTouched: damages[1]?.[at] ?? 0,
    })),
  };
}

/** A warning where the policy that is advised suffers from scans, and another does not. */
function scanNotes({ policy }: Advice, scanDamage: ReplayReport['scanDamage']): string[] {
  const policies = scanDamage?.policies ?? [];
  const worst = ({ onceTouched, twiceTouched }: ScanDamageFacts) =>
    Math.max(onceTouched, twiceTouched);
  const own = policies.find((each) => each.policy === policy);
  const safe = policies.find((each) => worst(each) < SCAN_HARMLESS);
  if (own === undefined || safe === undefined || worst(own) < SCAN_HARMFUL) return [];
  const scan =
    own.onceTouched < SCAN_HARMFUL
      ? 'A scan that reads all twice, as a backup of unaligned partitions does,'
      : 'A scan, as of a backup,';
  const percent = Math.round(worst(own) * 100);
  return [
    `${scan} costs ${policy} as many misses as ${percent} % of what the cache holds; ` +
      `${safe.policy} hardly suffers.`,
  ];
}

function scaledFootprint(stream: PageStream): Point[] {
  return footprintOverTime(stream, FOOTPRINT_POINTS).map(({ x, y }) => ({
    x: Math.round(x / stream.sampleRate),
    y: Math.round(y / stream.sampleRate),
  }));
}

function scaledReuse({ bars, cold }: ReuseDistances, sampleRate: number): ReuseDistances {
  return {
    cold,
    bars: bars.map(({ pagesMax, share }) => ({
      pagesMax: Math.round(pagesMax / sampleRate),
      share,
    })),
  };
}
