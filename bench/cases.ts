/** What is measured, and what this server should reach in each of it. */

/** A load that fio puts on one server at a time. */
export interface BenchCase {
  readonly id: string;
  readonly title: string;
  readonly pattern: 'randread' | 'read';
  readonly blockBytes: number;
  /** Requests in flight per connection. */
  readonly depth: number;
  readonly connections: number;
  /** Small requests are counted, large ones weighed. */
  readonly unit: 'IOPS' | 'MB/s';
  readonly goals: Readonly<Record<Setting, Goals>>;
}

/** Where the pages lie while this server is measured: all compressed, or all as they are. */
export type Setting = 'zcache' | 'hot';

/** A peer by its name, or whichever is the best of them in the case. */
export type Yardstick = 'best peer' | 'nbdkit-memory' | 'nbdkit-zstd';

/** This server's throughput divided by the yardstick's should be at least `times`. */
export interface Goal {
  readonly times: number;
  readonly of: Yardstick;
}

/** What must be reached, and what is hoped for. */
export interface Goals {
  readonly atLeast: readonly Goal[];
  readonly aim: Goal;
}

/** In every case: p99 latency divided by that of the best peer should be no more than this. */
export const LATENCY_GOALS = { atMost: 1, aim: 0.5 } as const;

const KIB = 1024;

function goal(times: number, of: Yardstick): Goal {
  return { times, of };
}

function randomRead(
  id: string,
  load: { depth: number; connections: number },
  times: { zcache: number; zcacheOverZstd: number; hot: number; aim: number },
): BenchCase {
  const { depth, connections } = load;
  const aim = goal(times.aim, 'best peer');
  const plural = connections === 1 ? '' : 's';
  return {
    id,
    title: `4 KiB random read, ${connections} connection${plural}, depth ${depth}`,
    pattern: 'randread',
    blockBytes: 4 * KIB,
    depth,
    connections,
    unit: 'IOPS',
    goals: {
      zcache: {
        atLeast: [goal(times.zcache, 'best peer'), goal(times.zcacheOverZstd, 'nbdkit-zstd')],
        aim,
      },
      hot: { atLeast: [goal(times.hot, 'best peer')], aim },
    },
  };
}

function sequentialRead(id: string, size: string, blockKib: number, hotTimes: number): BenchCase {
  const aim = goal(1, 'best peer');
  return {
    id,
    title: `${size} sequential read, 1 connection, depth 8`,
    pattern: 'read',
    blockBytes: blockKib * KIB,
    depth: 8,
    connections: 1,
    unit: 'MB/s',
    goals: {
      zcache: { atLeast: [goal(0.5, 'nbdkit-memory'), goal(2, 'nbdkit-zstd')], aim },
      hot: { atLeast: [goal(hotTimes, 'nbdkit-memory')], aim },
    },
  };
}

/** Every case, in the order it is run and shown. */
export const CASES: readonly BenchCase[] = [
  randomRead(
    'rand4k-d32',
    { depth: 32, connections: 1 },
    { zcache: 1.2, zcacheOverZstd: 8, hot: 1.5, aim: 2 },
  ),
  randomRead(
    'rand4k-d32-c4',
    { depth: 32, connections: 4 },
    { zcache: 1.2, zcacheOverZstd: 8, hot: 1.5, aim: 2 },
  ),
  randomRead(
    'rand4k-d1',
    { depth: 1, connections: 1 },
    { zcache: 1.05, zcacheOverZstd: 3, hot: 1.15, aim: 1.5 },
  ),
  sequentialRead('seq64k', '64 KiB', 64, 1.1),
  sequentialRead('seq1m', '1 MiB', 1024, 1.2),
];
