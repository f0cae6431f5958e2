/** A whole replay: reads a trace once, runs every policy at every size, and says what came of it. */

import { TmemError } from '../../lib/errors.ts';
import type { RequestBatch } from '../../trace/request-batch.ts';
import type { Trace } from '../../trace/trace.ts';
import { buildPageStream, type OpsMode, type PageStream } from '../engine/page-stream.ts';
import type { Run } from '../engine/run.ts';
import { adviceOf } from './advice.ts';
import { assembleReport } from './assemble.ts';
import { capacitiesOf, type MemorySize } from './memory-sizes.ts';
import { type PolicyRun, type PolicyRunsOptions, runPolicies } from './policy-runs.ts';
import {
  type Advice,
  FLOOR_POLICY,
  type ReplayReport,
  type ReplaySettings,
  type RunFacts,
  type WorkloadFacts,
} from './report.ts';
import { RequestStatistics } from './request-statistics.ts';
import { workloadOf } from './trace-facts.ts';

/** What comes before the first access that counts. */
export type Warmup =
  | { readonly kind: 'accesses'; readonly accesses: number }
  | { readonly kind: 'share'; readonly share: number };

export interface ReplayOptions {
  readonly pageBytes: number;
  readonly ops: OpsMode;
  readonly memory: readonly MemorySize[];
  readonly policies: readonly string[];
  readonly warmup: Warmup;
  /** The share of the pages to look at, above 0 to 1. */
  readonly sampleRate: number;
  readonly seed: number;
  /** Threads besides this one; not given, as many as there are processors. */
  readonly threads?: number;
  readonly engine: string;
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
  /** Undefined where none was asked for. */
  readonly report: ReplayReport | undefined;
}

/** What a trace was read into. */
export interface ReadTrace {
  readonly trace: Trace;
  readonly stream: PageStream;
  readonly statistics: RequestStatistics;
  /** Accesses of the whole trace, and those before the first that counts. */
  readonly accesses: number;
  readonly warmupAccesses: number;
  readonly footprintPages: number;
}

/**
 * Replays `trace`. Throws a usage error for what the trace cannot do, an `invalid` one for a trace
 * with nothing to replay, and what reading it throws.
 */
export async function replay(trace: Trace, options: ReplayOptions): Promise<ReplayOutcome> {
  const read = await readTrace(trace, options);
  const { stream, footprintPages } = read;
  const { unit } = trace;
  const capacities = capacitiesOf(options.memory, {
    unit,
    pageBytes: stream.pageBytes,
    footprintPages,
  });
  const wantsFloor = options.wantsReport && stream.canRereads;
  const floors = wantsFloor && !options.policies.includes(FLOOR_POLICY) ? [FLOOR_POLICY] : [];
  const runs = [...options.policies, ...floors].flatMap((policy) =>
    capacities.map((capacityPages): Run => {
      return { policy, capacityPages, warmupRequests: read.warmupAccesses };
    }),
  );
  const settings = runSettings(read, options);
  const done = await runPolicies(stream, runs, {
    ...settings,
    onProgress: (requests, all) =>
      options.onProgress?.({ phase: 'simulating', done: requests, all }),
  });
  const asked = done.slice(0, options.policies.length * capacities.length);
  const coldMissRatio = coldRatioOf(done, read, settings);
  const advice = adviceOf({
    runs: asked.map((run) => run.facts),
    coldMissRatio,
    footprintPages,
    pageBytes: stream.pageBytes,
    unit,
  });
  const findings = { read, options, done, asked, settings, coldMissRatio, advice };
  const report = options.wantsReport ? await assembleReport(findings) : undefined;
  return {
    runs: asked.map((run) => run.facts),
    // The report knows of scans as well.
    advice: report?.advice ?? advice,
    workload: workloadOf(read, coldMissRatio),
    report,
  };
}

/** The share of first uses among the accesses that count: the same in every run. */
function coldRatioOf(
  [first]: readonly PolicyRun[],
  { stream }: ReadTrace,
  { references }: PolicyRunsOptions,
): number {
  if (first === undefined) return 0;
  const { coldMisses, requests } = first.result;
  const all = stream.sampleRate < 1 ? references * stream.sampleRate : requests;
  return all === 0 ? 0 : Math.min(1, coldMisses / all);
}

/** What all runs of a replay share. */
export function runSettings(read: ReadTrace, options: ReplayOptions): PolicyRunsOptions {
  return {
    references: Math.max(0, read.accesses - read.warmupAccesses),
    seed: options.seed,
    ...(options.threads !== undefined && { threads: options.threads }),
    ...(options.signal !== undefined && { signal: options.signal }),
  };
}

async function readTrace(trace: Trace, options: ReplayOptions): Promise<ReadTrace> {
  const { pageBytes, ops, sampleRate } = options;
  const statistics = new RequestStatistics({ unit: trace.unit, pageBytes });
  const stream = await buildPageStream(
    {
      name: trace.name,
      unit: trace.unit,
      // Known only while the trace is read.
      get volumes() {
        return trace.volumes;
      },
      canRereads: trace.canRereads,
      batches: () => counted(trace, statistics, options),
    },
    { pageBytes, ops, sampleRate },
  );
  refuseNothing(trace, stream, statistics, options);
  const { readPages, writePages } = statistics;
  const accesses = ops === 'all' ? readPages + writePages : readPages;
  const { warmup } = options;
  const warmupAccesses =
    warmup.kind === 'share' ? Math.floor(accesses * warmup.share) : warmup.accesses;
  if (warmupAccesses >= accesses) {
    throw new TmemError(
      'usage',
      `--warmup: ${trace.name} has ${accesses} accesses, so a warm-up of ${warmupAccesses} leaves none to count`,
    );
  }
  const footprintPages = Math.round(stream.pageCount / stream.sampleRate);
  return { trace, stream, statistics, accesses, warmupAccesses, footprintPages };
}

/** The batches of a trace, counted as they go by. */
async function* counted(
  trace: Trace,
  statistics: RequestStatistics,
  { onProgress, signal }: ReplayOptions,
): AsyncGenerator<RequestBatch> {
  for await (const batch of trace.batches()) {
    signal?.throwIfAborted();
    statistics.add(batch);
    yield batch;
    onProgress?.({ phase: 'reading', done: trace.doneBytes, all: trace.sizeBytes });
  }
}

function refuseNothing(
  { name }: Trace,
  { accessCount, ops }: PageStream,
  { requests }: RequestStatistics,
  { sampleRate }: ReplayOptions,
): void {
  if (accessCount > 0) return;
  const refuse = (message: string): never => {
    throw new TmemError('invalid', message);
  };
  if (requests === 0) refuse(`${name} has no requests in it; check that it is the right file`);
  if (sampleRate < 1) {
    refuse(`${name} has none of its ${requests} requests in the sample; give a larger --sample`);
  }
  const advice = ops === 'all' ? 'nothing to replay' : 'nothing to replay with that; try --ops all';
  refuse(`${name} has ${requests} requests, but --ops ${ops} leaves ${advice}`);
}
