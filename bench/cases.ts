/** What a case of the benchmark is, and the reads: loads, servers, and what should be reached. */

/** What is measured together: reads of one image, writes of copies, swap devices, or qcow2. */
export type SuiteName = 'reads' | 'writes' | 'swap' | 'images';

/**
 * What a case of qcow2 images begins with: the image read once by the server, the image in nobody's
 * memory, a new image without content, or a new image over a base that has all of it.
 */
export type ImageKind = 'warm' | 'cold' | 'empty' | 'overlay';

/** Work that is the same for every server, however long it takes. */
export interface FixedWork {
  /** Bytes of all connections together, for each byte of the benchmark's image. */
  readonly imageShare: number;
  /** A FLUSH comes behind so many writes of a connection, and behind the last. */
  readonly flushEvery?: number;
}

/** A load that fio puts on one server at a time. */
export interface BenchCase {
  readonly suite: SuiteName;
  readonly id: string;
  readonly title: string;
  readonly pattern: 'randread' | 'read' | 'randwrite';
  readonly blockBytes: number;
  /** Requests in flight per connection. */
  readonly depth: number;
  readonly connections: number;
  /** Small requests are counted, large ones weighed. */
  readonly unit: 'IOPS' | 'MB/s';
  /** It is measured for this many times the usual seconds; default 1. */
  readonly secondsTimes?: number;
  /** What is done instead of going on for some seconds; no block is asked for twice in reading. */
  readonly work?: FixedWork;
  /** Of the suite `images` alone. */
  readonly image?: ImageKind;
  /** Those that are measured, in the order they are shown. */
  readonly servers: readonly string[];
  /** What each setting of this server should reach, by its id. */
  readonly goals: Readonly<Record<string, Goals>>;
}

/** A peer by its name, or whichever is the best of them in the case. */
export type Yardstick =
  | 'best peer'
  | 'nbdkit-memory'
  | 'nbdkit-zstd'
  | 'qemu-nbd-qcow2'
  | 'qemu-nbd-qcow2-direct';

/** This server's throughput divided by the yardstick's should be at least `times`. */
export interface Goal {
  readonly times: number;
  readonly of: Yardstick;
}

/** What must be reached, and what is hoped for. */
export interface Goals {
  readonly atLeast: readonly Goal[];
  readonly aim?: Goal;
  /** Whether the p99 latency is held against that of the best peer; see `LATENCY_GOALS`. */
  readonly hasLatencyGoals: boolean;
}

/** p99 latency divided by that of the best peer should be no more than this. */
export const LATENCY_GOALS = { atMost: 1, aim: 0.5 } as const;

const KIB = 1024;

const READ_SERVERS = [
  ...['qemu-nbd', 'nbdkit-file', 'nbdkit-cache', 'nbdkit-memory', 'nbdkit-zstd'],
  ...['tmem-zcache', 'tmem-hot'],
];

/** A goal, shortly. */
export function goal(times: number, of: Yardstick): Goal {
  return { times, of };
}

/** How a random load is called. */
export function randomTitle(what: string, depth: number, connections: number): string {
  return `4 KiB random ${what}, ${connections} connection${connections === 1 ? '' : 's'}, depth ${depth}`;
}

function randomRead(
  id: string,
  load: { depth: number; connections: number },
  times: { zcache: number; zcacheOverZstd: number; hot: number; aim: number },
): BenchCase {
  const shared = { aim: goal(times.aim, 'best peer'), hasLatencyGoals: true };
  return {
    ...{ suite: 'reads', id, title: randomTitle('read', load.depth, load.connections) },
    ...{ pattern: 'randread', blockBytes: 4 * KIB, ...load, unit: 'IOPS' },
    servers: READ_SERVERS,
    goals: {
      'tmem-zcache': {
        atLeast: [goal(times.zcache, 'best peer'), goal(times.zcacheOverZstd, 'nbdkit-zstd')],
        ...shared,
      },
      'tmem-hot': { atLeast: [goal(times.hot, 'best peer')], ...shared },
    },
  };
}

function sequentialRead(id: string, size: string, blockKib: number, hotTimes: number): BenchCase {
  const shared = { aim: goal(1, 'best peer'), hasLatencyGoals: true };
  return {
    ...{ suite: 'reads', id, title: `${size} sequential read, 1 connection, depth 8` },
    ...{ pattern: 'read', blockBytes: blockKib * KIB, depth: 8, connections: 1, unit: 'MB/s' },
    servers: READ_SERVERS,
    goals: {
      'tmem-zcache': {
        atLeast: [goal(0.5, 'nbdkit-memory'), goal(2, 'nbdkit-zstd')],
        ...shared,
      },
      'tmem-hot': { atLeast: [goal(hotTimes, 'nbdkit-memory')], ...shared },
    },
  };
}

/** Every read, in the order it is run and shown. */
export const READ_CASES: readonly BenchCase[] = [
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
