/** A trace against an NBD server: connects, replays, and says how long the answers took. */

import { refuse } from '../../lib/errors.ts';
import type { NbdTarget } from '../../lib/nbd-uri.ts';
import { statedSize } from '../../lib/sizes.ts';
import { OP, OP_NAMES } from '../../trace/request-batch.ts';
import type { Trace } from '../../trace/trace.ts';
import { LiveConnection } from './connection.ts';
import { Driver } from './driver.ts';
import { checkWanted, givenUp } from './given-up.ts';
import type { Percentiles } from './latencies.ts';
import { type Survey, surveyTrace } from './survey.ts';
import { LiveVolume } from './volume.ts';

const TICK_MS = 200;
const CONNECTIONS_MAX = 4096;

/** By number of the trace's volume. */
type LiveVolumes = ReadonlyMap<number, LiveVolume>;

/** How a trace is replayed, and against whom. */
export interface LiveOptions {
  readonly target: NbdTarget;
  /** To each export. */
  readonly connections: number;
  /** Requests under way on each connection. */
  readonly depth: number;
  /** How much faster than recorded; undefined for as fast as possible. */
  readonly speed: number | undefined;
  readonly allowsWrites: boolean;
  /** Offsets beyond the end of an export are folded into it. */
  readonly wraps: boolean;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: LiveProgress) => void;
}

/** How far it is: bytes of the trace while it is looked at, then its requests. */
export interface LiveProgress {
  readonly phase: 'reading' | 'replaying';
  readonly done: number;
  readonly all: number;
}

/** What was done of one operation. */
export interface LiveOp {
  /** As they were sent: a request that is too long for the server is several. */
  readonly requests: number;
  readonly bytes: number;
  /** By name of the error. */
  readonly errors: Readonly<Record<string, number>>;
  /** From sending to the end of the answer, of those that succeeded. */
  readonly latencyUs: Percentiles;
}

/** What came of a replay, as `--json` prints it. */
export interface LiveResult {
  readonly trace: string;
  readonly connections: number;
  readonly depth: number;
  /** Null for as fast as possible. */
  readonly speed: number | null;
  /** Requests of the trace that were replayed. */
  readonly requests: number;
  readonly leftOut: {
    /** For want of leave to write. */
    readonly changes: number;
    /** That the server does not do. */
    readonly unsupported: number;
    /** Of no byte. */
    readonly empty: number;
  };
  readonly wrapped: number;
  readonly errors: number;
  /** How long it should have taken; null for as fast as possible. */
  readonly plannedSeconds: number | null;
  readonly elapsedSeconds: number;
  /** Requests that were due when no connection had room; null for as fast as possible. */
  readonly stalls: number | null;
  /** How late requests were sent; null for as fast as possible. */
  readonly lagUs: Percentiles | null;
  readonly ops: Readonly<Record<(typeof OP_NAMES)[number], LiveOp>>;
}

/**
 * Replays a trace, which is read twice. Rejects with a TmemError: a usage error for a trace that
 * cannot be replayed so, `io` when the server fails, `shutdown` when `signal` is aborted.
 */
export async function replayLive(trace: Trace, options: LiveOptions): Promise<LiveResult> {
  checkTrace(trace, options);
  const tell = (phase: LiveProgress['phase'], done: number, all: number): void =>
    options.onProgress?.({ phase, done, all });
  const survey = await surveyTrace(trace, () => {
    checkWanted(options.signal);
    tell('reading', trace.doneBytes, trace.sizeBytes);
  });
  checkSurvey(survey, options);
  const volumes = await openVolumes(survey, trace.volumes.length > 1, options);
  try {
    checkVolumes(survey.volumes, volumes, options);
    return await drive(trace, survey, volumes, options, tell);
  } finally {
    for (const { connections } of volumes.values()) for (const each of connections) each.close();
  }
}

function checkTrace(trace: Trace, { speed }: LiveOptions): void {
  if (trace.unit === 'keys') {
    refuse(`${trace.name} is a trace of keys, which are nowhere on a disk; take one of requests`);
  }
  if (!trace.canRereads) {
    refuse('a trace that comes through a pipe cannot be looked at first; write it to a file');
  }
  if (!trace.hasClock && speed !== undefined) {
    refuse(`${trace.name} has no times; replay it with --as-fast-as-possible`);
  }
}

function checkSurvey(survey: Survey, { target, allowsWrites }: LiveOptions): void {
  const { volumes } = survey;
  if (countOf(survey, allowsWrites) === 0) {
    refuse(
      allowsWrites
        ? 'the trace has no request to replay'
        : 'the trace has no reads; to replay what it changes, give --allow-writes',
    );
  }
  if (volumes.size > 1 && target.exportName !== '') {
    const sentence = `the trace asks ${volumes.size} volumes, and the URI names one export`;
    refuse(
      `${sentence}; leave its name out to replay each on the export of its name, or take one with ` +
        'tmem trace cut --volume',
    );
  }
}

/**
 * Requests go where the URI says; if that names no export, and the trace several volumes, each goes to
 * the export of its name.
 */
async function openVolumes(
  { volumes }: Survey,
  isOfSeveral: boolean,
  options: LiveOptions,
): Promise<LiveVolumes> {
  if (volumes.size * options.connections > CONNECTIONS_MAX) {
    const sentence = `${volumes.size} volumes with ${options.connections} connections each`;
    refuse(`${sentence} are more than ${CONNECTIONS_MAX}; take fewer --connections`);
  }
  const opened: LiveConnection[] = [];
  const { address, exportName } = options.target;
  const { depth, connections, signal } = options;
  try {
    const all = new Map<number, LiveVolume>();
    for (const [number, { name }] of volumes) {
      const target = { address, exportName: isOfSeveral && exportName === '' ? name : exportName };
      const first = await LiveConnection.open(target, depth, signal);
      opened.push(first);
      const ofVolume: [LiveConnection, ...LiveConnection[]] = [first];
      while (ofVolume.length < connections) {
        const next = await LiveConnection.open(target, depth, signal);
        opened.push(next);
        ofVolume.push(next);
      }
      all.set(number, new LiveVolume(ofVolume));
    }
    return all;
  } catch (cause) {
    for (const each of opened) each.destroy();
    throw cause;
  }
}

function checkVolumes(
  surveys: Survey['volumes'],
  volumes: LiveVolumes,
  { allowsWrites, wraps }: LiveOptions,
): void {
  for (const [number, { name, readEnd, changeEnd }] of surveys) {
    const volume = volumes.get(number);
    if (volume === undefined) continue;
    const shown = JSON.stringify(name);
    if (allowsWrites && volume.isReadOnly && changeEnd > 0) {
      refuse(`the export for volume ${shown} is read-only; leave --allow-writes out`);
    }
    const end = allowsWrites ? Math.max(readEnd, changeEnd) : readEnd;
    if (end <= volume.sizeBytes || (wraps && volume.sizeBytes > 0)) continue;
    const sizes = `up to ${statedSize(end)}, and the export has ${statedSize(volume.sizeBytes)}`;
    refuse(`volume ${shown} is used ${sizes}; take a larger one, or fold it with --wrap`);
  }
}

async function drive(
  trace: Trace,
  survey: Survey,
  volumes: LiveVolumes,
  options: LiveOptions,
  tell: (phase: 'replaying', done: number, all: number) => void,
): Promise<LiveResult> {
  const { allowsWrites, speed, signal } = options;
  const { firstTimeUs } = survey;
  const driver = new Driver({ volumes, allowsWrites, speed, firstTimeUs });
  const all = countOf(survey, allowsWrites);
  const abort = (): void => driver.fail(givenUp());
  const tick = setInterval(() => {
    driver.lookForSilence();
    tell('replaying', driver.replayed, all);
  }, TICK_MS);
  signal.addEventListener('abort', abort);
  try {
    checkWanted(signal);
    for await (const batch of trace.batches()) await driver.send(batch);
    await driver.drain();
  } finally {
    clearInterval(tick);
    signal.removeEventListener('abort', abort);
  }
  return resultOf(trace, driver, options);
}

function countOf({ volumes }: Survey, allowsWrites: boolean): number {
  let count = 0;
  for (const { requests } of volumes.values()) {
    for (const [op, each] of requests.entries()) if (allowsWrites || op === OP.read) count += each;
  }
  return count;
}

function resultOf(
  trace: Trace,
  driver: Driver,
  { connections, depth, speed }: LiveOptions,
): LiveResult {
  let errors = 0;
  const ops = driver.ops.map((each, op) => {
    for (const count of each.errors.values()) errors += count;
    const { requests, bytes, latencies } = each;
    const counts = { requests, bytes, errors: Object.fromEntries(each.errors) };
    return [OP_NAMES[op], { ...counts, latencyUs: latencies.percentiles() }] as const;
  });
  const { changesLeftOut: changes, unsupported, empty } = driver;
  return {
    trace: trace.name,
    connections,
    depth,
    speed: speed ?? null,
    requests: driver.replayed,
    leftOut: { changes, unsupported, empty },
    wrapped: driver.folded,
    errors,
    plannedSeconds: speed === undefined ? null : driver.plannedSeconds,
    elapsedSeconds: (performance.now() - driver.startedMs) / 1000,
    stalls: speed === undefined ? null : driver.stalls,
    lagUs: speed === undefined ? null : driver.lag.percentiles(),
    ops: Object.fromEntries(ops) as unknown as LiveResult['ops'],
  };
}
