/** From samples to medians, and from medians to what was reached. */
import { type BenchCase, type Goal, LATENCY_GOALS, type Yardstick } from './cases.ts';
import type { Measurement } from './fio.ts';
import { isOwn } from './tmem.ts';

/** One server under one load in one round. */
export interface Sample extends Measurement {
  readonly round: number;
  readonly server: string;
  readonly load: string;
  /** Processor time the server used for each request. */
  readonly cpuUsPerOperation: number;
  readonly residentBytes: number;
  /** Of a swap device, before the load: bytes of page data for each resident byte. */
  readonly density?: number;
  /** Why the sample does not show what it should, if so. */
  readonly fault?: string;
}

/** A server's medians in one case. */
export interface ServerMedians {
  readonly server: string;
  readonly samples: number;
  /** In the unit of the case. */
  readonly throughput: number;
  /** The largest throughput of a round over the smallest: how noisy the machine was. */
  readonly spread: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly cpuUsPerOperation: number;
  readonly residentBytes: number;
  readonly density?: number;
}

/** One of this server's goals, and how far it got. */
export interface Verdict {
  readonly server: string;
  readonly measure: 'throughput' | 'p99';
  readonly kind: 'at least' | 'aim';
  readonly of: Yardstick;
  /** The peer that was the yardstick here. */
  readonly peer: string;
  readonly ratio: number;
  readonly goal: number;
  readonly isReached: boolean;
}

/** Everything that is said about one case. */
export interface CaseSummary {
  readonly load: BenchCase;
  readonly servers: readonly ServerMedians[];
  readonly verdicts: readonly Verdict[];
  readonly faults: readonly string[];
}

/** Medians and verdicts of every case that has samples. */
export function summarize(loads: readonly BenchCase[], samples: readonly Sample[]): CaseSummary[] {
  return loads.map((load) => {
    const ofLoad = samples.filter((sample) => sample.load === load.id);
    const medians = load.servers.flatMap((server) => {
      const own = ofLoad.filter((sample) => sample.server === server);
      return own.length === 0 ? [] : [mediansOf(load, server, own)];
    });
    const faults = ofLoad.flatMap(({ server, round, fault }) =>
      fault === undefined ? [] : [`${server}, round ${round}: ${fault}`],
    );
    // What was measured under wrong conditions reaches nothing, however fast it was.
    const isFaulty = (server: string) => ofLoad.some((own) => own.server === server && own.fault);
    const verdicts = judge(load, medians).map((verdict) =>
      isFaulty(verdict.server) ? { ...verdict, isReached: false } : verdict,
    );
    return { load, servers: medians, verdicts, faults };
  });
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const low = sorted[Math.floor(middle)] ?? Number.NaN;
  const high = sorted[Math.ceil(middle)] ?? Number.NaN;
  return (low + high) / 2;
}

/** The peer with the best figure; undefined where no peer was measured. */
export function bestPeer(
  servers: readonly ServerMedians[],
  measure: Verdict['measure'],
): ServerMedians | undefined {
  const peers = servers.filter(({ server }) => !isOwn(server));
  return peers.sort((a, b) =>
    measure === 'p99' ? a.p99Us - b.p99Us : b.throughput - a.throughput,
  )[0];
}

function mediansOf(load: BenchCase, server: string, samples: readonly Sample[]): ServerMedians {
  const over = (value: (sample: Sample) => number) => median(samples.map(value));
  const throughputOf = (sample: Sample) =>
    load.unit === 'IOPS' ? sample.iops : sample.bytesPerSecond / 1e6;
  const throughputs = samples.map(throughputOf);
  const densities = samples.flatMap(({ density }) => (density === undefined ? [] : [density]));
  return {
    server,
    samples: samples.length,
    throughput: median(throughputs),
    spread: Math.max(...throughputs) / Math.min(...throughputs),
    p50Us: over((sample) => sample.p50Us),
    p99Us: over((sample) => sample.p99Us),
    cpuUsPerOperation: over((sample) => sample.cpuUsPerOperation),
    residentBytes: over((sample) => sample.residentBytes),
    ...(densities.length > 0 ? { density: median(densities) } : {}),
  };
}

function judge(load: BenchCase, medians: readonly ServerMedians[]): Verdict[] {
  return Object.entries(load.goals).flatMap(([id, { atLeast, aim, hasLatencyGoals }]) => {
    const own = medians.find(({ server }) => server === id);
    if (own === undefined) return [];
    return [
      ...atLeast.flatMap((goal) => judgeThroughput(medians, own, goal, 'at least')),
      ...(aim === undefined ? [] : judgeThroughput(medians, own, aim, 'aim')),
      ...(hasLatencyGoals ? judgeLatency(medians, own) : []),
    ];
  });
}

function judgeThroughput(
  medians: readonly ServerMedians[],
  own: ServerMedians,
  goal: Goal,
  kind: Verdict['kind'],
): Verdict[] {
  const peer =
    goal.of === 'best peer'
      ? bestPeer(medians, 'throughput')
      : medians.find(({ server }) => server === goal.of);
  if (peer === undefined) return [];
  const ratio = own.throughput / peer.throughput;
  return [
    {
      ...{ server: own.server, measure: 'throughput', kind, of: goal.of, peer: peer.server },
      ...{ ratio, goal: goal.times, isReached: ratio >= goal.times },
    },
  ];
}

function judgeLatency(medians: readonly ServerMedians[], own: ServerMedians): Verdict[] {
  const peer = bestPeer(medians, 'p99');
  if (peer === undefined) return [];
  const ratio = own.p99Us / peer.p99Us;
  const verdict = (kind: Verdict['kind'], goal: number): Verdict => ({
    ...{ server: own.server, measure: 'p99', kind, of: 'best peer', peer: peer.server },
    ...{ ratio, goal, isReached: ratio <= goal },
  });
  return [verdict('at least', LATENCY_GOALS.atMost), verdict('aim', LATENCY_GOALS.aim)];
}
