/** Writes of an image and swap devices: loads, servers, and what should be reached. */

import { type BenchCase, type Goals, goal, randomTitle } from './cases.ts';

const BLOCK_BYTES = 4096;
/** Four seconds, the usual time, become a minute. */
const MINUTE_TIMES = 15;

/** Peers that answer a write when the kernel has it, as write-back does when memory has it. */
const WRITE_BACK_PEERS = ['qemu-nbd-writeback', 'nbdkit-file-rw'];

interface Load {
  readonly depth: number;
  readonly connections: number;
}

function randomWrite(
  id: string,
  what: string,
  load: Load,
  parts: Pick<BenchCase, 'servers' | 'goals' | 'secondsTimes'>,
): BenchCase {
  const title = randomTitle(what, load.depth, load.connections);
  const shape = { pattern: 'randwrite', blockBytes: BLOCK_BYTES, unit: 'IOPS' } as const;
  return { suite: 'writes', id, title, ...shape, ...load, ...parts };
}

function throughput(times: number, aim?: number): Goals {
  const atLeast = [goal(times, 'best peer')];
  return { atLeast, hasLatencyGoals: false, ...(aim ? { aim: goal(aim, 'best peer') } : {}) };
}

function writeBack(id: string, load: Load): BenchCase {
  return randomWrite(id, 'write-back', load, {
    servers: [...WRITE_BACK_PEERS, 'tmem-writeback'],
    goals: { 'tmem-writeback': throughput(1.1, 1.3) },
  });
}

/**
 * Of the peers only qemu-nbd can write around the page cache without a flush behind every write,
 * which is what this server promises: what is answered is with the device, and stable after a FLUSH.
 * `--cache=writethrough` and nbdkit's fua filter flush for every write, and promise more.
 */
function writeThrough(id: string, load: Load): BenchCase {
  return randomWrite(id, 'write-through', load, {
    servers: ['qemu-nbd-direct', 'tmem-writethrough'],
    goals: { 'tmem-writethrough': throughput(0.9) },
  });
}

/** Every write, in the order it is run and shown. */
export const WRITE_CASES: readonly BenchCase[] = [
  writeBack('wb-d32', { depth: 32, connections: 1 }),
  writeBack('wb-d32-c4', { depth: 32, connections: 4 }),
  writeBack('wb-d1', { depth: 1, connections: 1 }),
  writeBack('wb-d1-c4', { depth: 1, connections: 4 }),
  {
    ...randomWrite(
      'wb-sustained',
      'write-back',
      { depth: 32, connections: 1 },
      {
        servers: [...WRITE_BACK_PEERS, 'tmem-writeback-half'],
        goals: { 'tmem-writeback-half': throughput(1) },
        secondsTimes: MINUTE_TIMES,
      },
    ),
    title: '4 KiB random write for long, twice the dirty limit',
  },
  writeThrough('wt-d32', { depth: 32, connections: 1 }),
  writeThrough('wt-d1', { depth: 1, connections: 1 }),
  // Through the page cache the kernel holds the writes back: shown, and nothing is promised.
  randomWrite(
    'wt-buffered',
    'write, page cache',
    { depth: 32, connections: 1 },
    {
      servers: [...WRITE_BACK_PEERS, 'tmem-buffered'],
      goals: {},
    },
  ),
];

function swap(id: string, pattern: 'randread' | 'randwrite', load: Load): BenchCase {
  const what = pattern === 'randread' ? 'swap read' : 'swap write';
  const atLeast = [goal(6, 'nbdkit-zstd')];
  return {
    ...randomWrite(id, what, load, {
      servers: ['nbdkit-zstd', 'tmem-swap'],
      goals: { 'tmem-swap': { atLeast, hasLatencyGoals: false } },
    }),
    ...{ suite: 'swap', pattern },
  };
}

/** Every load of a swap device. */
export const SWAP_CASES: readonly BenchCase[] = [
  swap('swap-read-d32', 'randread', { depth: 32, connections: 1 }),
  swap('swap-read-d32-c4', 'randread', { depth: 32, connections: 4 }),
  swap('swap-write-d32', 'randwrite', { depth: 32, connections: 1 }),
  swap('swap-write-d32-c4', 'randwrite', { depth: 32, connections: 4 }),
];
