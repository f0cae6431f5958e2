/** A whole replay: reads a trace once, runs every policy at every size, and says what came of it. */

import { TmemError } from '../../lib/errors.ts';
import { checkPageBytes } from '../../tmem/tmem.ts';
import type { Trace } from '../../trace/trace.ts';
import { refusePipe } from '../engine/next-uses.ts';
import { MIXED_CONTENT, type PageContents, SynthesisedContents } from '../engine/page-contents.ts';
import type { OpsMode, PageStream } from '../engine/page-stream.ts';
import { parsePolicy } from '../engine/policy-specs.ts';
import type { Run } from '../engine/run.ts';
import { adviceOf } from './advice.ts';
import { assembleReport } from './assemble.ts';
import {
  checkFullPolicies,
  type FullRunsOptions,
  fullCapacitiesOf,
  fullFloors,
  runFullPolicies,
} from './full-runs.ts';
import { capacitiesOf, type MemorySize } from './memory-sizes.ts';
import { unavoidableMisses } from './page-statistics.ts';
import { type PolicyRun, type PolicyRunsOptions, runPolicies } from './policy-runs.ts';
import { type ReadTrace, readTrace } from './read-trace.ts';
import {
  type Advice,
  FLOOR_POLICY,
  type ReplayReport,
  type ReplaySettings,
  type RunFacts,
  type WorkloadFacts,
} from './report.ts';
import { workloadOf } from './trace-facts.ts';

/** What comes before the first access that counts. */
export type Warmup =
  | { readonly kind: 'accesses'; readonly accesses: number }
  | { readonly kind: 'share'; readonly share: number };

/** What is to be simulated, and how. */
export interface ReplayOptions {
  readonly pageBytes: number;
  readonly ops: OpsMode;
  readonly memory: readonly MemorySize[];
  /** Whether nobody asked for `memory`: what the engine cannot do of it is left out, and said. */
  readonly hasDefaultMemory?: boolean;
  readonly policies: readonly string[];
  readonly warmup: Warmup;
  /** The share of the pages to look at, above 0 to 1. */
  readonly sampleRate: number;
  readonly seed: number;
  /** Threads besides this one; not given, as many as there are processors. */
  readonly threads?: number;
  readonly engine: 'sizes' | 'full';
  /** What the pages hold, for the engine `full`; made up if it is not given. */
  readonly contentsOf?: ((stream: PageStream) => PageContents) | undefined;
  /** Whether a report is wanted, which takes floors, curves and a scan more than the runs. */
  readonly wantsReport: boolean;
  /** The command, the files as it names them, and the versions: for the report. */
  readonly origin: Pick<ReplaySettings, 'command' | 'versions'> & {
    readonly files: readonly string[];
  };
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ReplayProgress) => void;
}

/** How far a replay is. */
export interface ReplayProgress {
  readonly phase: 'reading' | 'simulating' | 'scanning';
  /** Bytes while reading, else requests; `all` is 0 where nobody knows. */
  readonly done: number;
  readonly all: number;
}

/** What a replay gives. */
export interface ReplayOutcome {
  readonly runs: readonly RunFacts[];
  readonly advice: Advice;
  readonly workload: WorkloadFacts;
  /** The share of the pages that was looked at: of the trace's, which may be a sample itself. */
  readonly sampleRate: number;
  /** Undefined where none was asked for. */
  readonly report: ReplayReport | undefined;
}

const NO_FLOOR =
  'The charts lack the floor: belady has to know the whole trace first, which a pipe does not tell.';

/**
 * Replays `trace`. Throws a usage error for what the trace cannot do, an `invalid` one for a trace
 * with nothing to replay, and what reading it throws.
 */
export async function replay(trace: Trace, options: ReplayOptions): Promise<ReplayOutcome> {
  const isFull = options.engine === 'full';
  if (isFull) checkFull(trace, options);
  checkBeforeReading(trace, options);
  const read = await readTrace(trace, options);
  const { stream, footprintPages } = read;
  const { unit } = trace;
  const { capacities, notes } = sizesOf(trace, footprintPages, options);
  const wantsFloor = options.wantsReport && stream.canRereads;
  const lacksFloor = wantsFloor && !options.policies.includes(FLOOR_POLICY);
  // Of the real layers it takes as many pages as they will have held.
  const floors = lacksFloor && !isFull ? [FLOOR_POLICY] : [];
  const runs = [...options.policies, ...floors].flatMap((policy) =>
    capacities.map((capacityPages): Run => {
      return { policy, capacityPages, warmupRequests: read.warmupAccesses };
    }),
  );
  const settings = runSettings(read, options);
  const onProgress = (requests: number, all: number) =>
    options.onProgress?.({ phase: 'simulating', done: requests, all });
  const done = isFull
    ? await runFullPolicies(stream, runs, { ...fullSettings(stream, options), onProgress })
    : await runPolicies(stream, runs, { ...settings, onProgress });
  if (isFull && wantsFloor) {
    done.push(...(await fullFloors(stream, done, read.warmupAccesses, settings)));
  }
  const asked = done.slice(0, options.policies.length * capacities.length);
  const coldMissRatio = coldRatioOf(done, read, settings);
  const found = adviceOf({
    runs: asked.map((run) => run.facts),
    coldMissRatio,
    footprintPages,
    pageBytes: stream.pageBytes,
    unit,
    engine: options.engine,
    ops: options.ops,
  });
  const lacks = options.wantsReport && !stream.canRereads ? [NO_FLOOR] : [];
  const advice = { ...found, notes: [...read.notes, ...found.notes, ...notes, ...lacks] };
  const findings = { read, options, done, asked, settings, coldMissRatio, advice };
  const report = options.wantsReport ? await assembleReport(findings) : undefined;
  return {
    runs: asked.map((run) => run.facts),
    // The report knows of scans as well.
    advice: report?.advice ?? advice,
    workload: workloadOf(read, coldMissRatio),
    sampleRate: stream.sampleRate,
    report,
  };
}

/** The sizes to run, and what is to be said of those that are not. */
function sizesOf({ name, unit }: Trace, footprintPages: number, options: ReplayOptions) {
  const { memory, hasDefaultMemory = false, pageBytes } = options;
  const units = { unit, pageBytes, footprintPages };
  if (options.engine !== 'full') return { capacities: capacitiesOf(memory, units), notes: [] };
  return fullCapacitiesOf({ ...units, memory, hasDefaultMemory, traceName: name });
}

/** The share of the accesses that count that no cache can avoid to miss: the same in every run. */
function coldRatioOf(
  [first]: readonly PolicyRun[],
  { stream, warmupAccesses }: ReadTrace,
  { references }: PolicyRunsOptions,
): number {
  if (first === undefined) return 0;
  const { coldMisses, requests } = first.result;
  const all = stream.sampleRate < 1 ? references * stream.sampleRate : requests;
  if (all === 0) return 0;
  if (stream.ops !== 'writes-invalidate') return Math.min(1, coldMisses / all);
  const warmup = Math.round(warmupAccesses * stream.sampleRate);
  return Math.min(1, unavoidableMisses(stream, warmup) / all);
}

function fullSettings(stream: PageStream, options: ReplayOptions): FullRunsOptions {
  const contents =
    options.contentsOf?.(stream) ??
    new SynthesisedContents(stream, stream.pageBytes, MIXED_CONTENT, options.seed);
  return { contents, signal: options.signal };
}

/** Throws a usage error for what the engine `full` cannot do. */
function checkFull({ name, unit }: Trace, options: ReplayOptions): void {
  const { policies, sampleRate, pageBytes } = options;
  checkFullPolicies(policies);
  checkPageBytes(pageBytes);
  if (unit === 'keys') {
    throw new TmemError(
      'usage',
      `${name} names objects that have no bytes to put into layers; replay it with --engine sizes`,
    );
  }
  if (sampleRate < 1) {
    throw new TmemError('usage', '--sample is for --engine sizes; layers do not scale down');
  }
}

/** Throws a usage error for what is known to fail however the trace goes on: it may be long. */
function checkBeforeReading(trace: Trace, options: ReplayOptions): void {
  const { memory, policies } = options;
  // A share is of a footprint that nobody knows yet.
  sizesOf(trace, 1, { ...options, memory: memory.filter(({ kind }) => kind !== 'share') });
  if (policies.some((policy) => parsePolicy(policy).needsFuture)) refusePipe(trace);
}

/** What all runs of a replay share. */
function runSettings(read: ReadTrace, options: ReplayOptions): PolicyRunsOptions {
  return {
    references: Math.max(0, read.accesses - read.warmupAccesses),
    seed: options.seed,
    ...(options.threads !== undefined && { threads: options.threads }),
    ...(options.signal !== undefined && { signal: options.signal }),
  };
}
