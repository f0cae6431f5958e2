/** Loads of qcow2 images: reads that are warm or cold, and writes that allocate. */

import { type BenchCase, type Goals, goal, randomTitle } from './cases.ts';

const BLOCK_BYTES = 4096;
/** The share of an image that is read cold: few blocks are in a cluster that was read before. */
const COLD_SHARE = 1 / 4;
/** An image that is written to is so much larger than the one that is read: most writes are first ones. */
export const ALLOCATED_TIMES = 4;
/** Writes for each cluster of such an image. */
const WRITES_PER_CLUSTER = 1 / 2;
/** Clusters of every image here, which are what qemu-img makes by itself. */
const CLUSTER_BYTES = 65_536;
/** A FLUSH comes after so many writes of a connection, and after the last. */
const FLUSH_EVERY = 256;

const LOADS = [
  { name: 'd1', depth: 1, connections: 1 },
  { name: 'd32', depth: 32, connections: 1 },
  { name: 'd32-c4', depth: 32, connections: 4 },
] as const;

type Load = (typeof LOADS)[number];

const PEERS = ['qemu-nbd-qcow2', 'qemu-nbd-qcow2-direct'];
const SHAPE = { suite: 'images', blockBytes: BLOCK_BYTES, unit: 'IOPS' } as const;

function warm({ name, depth, connections }: Load): BenchCase {
  const goals: Goals = { atLeast: [goal(2, 'best peer')], hasLatencyGoals: false };
  return {
    ...{ ...SHAPE, id: `qcow2-warm-${name}`, depth, connections },
    title: randomTitle('read of qcow2, warm', depth, connections),
    ...{ pattern: 'randread', image: 'warm', servers: [...PEERS, 'tmem-qcow2-warm'] },
    goals: { 'tmem-qcow2-warm': goals },
  };
}

function cold({ name, depth, connections }: Load): BenchCase {
  const goals: Goals = { atLeast: [], aim: goal(1, 'best peer'), hasLatencyGoals: false };
  return {
    ...{ ...SHAPE, id: `qcow2-cold-${name}`, depth, connections },
    title: randomTitle('read of qcow2, cold', depth, connections),
    ...{ pattern: 'randread', image: 'cold', servers: [...PEERS, 'tmem-qcow2'] },
    work: { imageShare: COLD_SHARE },
    goals: { 'tmem-qcow2': goals },
  };
}

/**
 * Each setting is held against the peer with the same promise: around the page cache, what is
 * answered is with the device; through it, with the kernel. Every FLUSH makes all of it stable.
 */
function allocating(base: 'empty' | 'overlay', { name, depth, connections }: Load): BenchCase {
  const of = base === 'empty' ? 'new qcow2' : 'qcow2 overlay';
  const servers = ['tmem-qcow2', 'tmem-qcow2-buffered', 'tmem-qcow2-writeback'];
  const imageShare = (ALLOCATED_TIMES * WRITES_PER_CLUSTER * BLOCK_BYTES) / CLUSTER_BYTES;
  const reached = (goals: Omit<Goals, 'hasLatencyGoals'>): Goals => ({
    ...goals,
    hasLatencyGoals: false,
  });
  return {
    ...{ ...SHAPE, id: `qcow2-${base === 'empty' ? 'new' : 'overlay'}-${name}` },
    ...{ depth, connections, title: randomTitle(`write of ${of}`, depth, connections) },
    ...{ pattern: 'randwrite', image: base, servers: [...PEERS, ...servers] },
    work: { imageShare, flushEvery: FLUSH_EVERY },
    goals: {
      'tmem-qcow2': reached({ atLeast: [goal(1, 'qemu-nbd-qcow2-direct')] }),
      'tmem-qcow2-buffered': reached({ atLeast: [goal(1, 'qemu-nbd-qcow2')] }),
      'tmem-qcow2-writeback': reached({ atLeast: [], aim: goal(1, 'best peer') }),
    },
  };
}

/** Every load of a qcow2 image, in the order it is run and shown. */
export const IMAGE_CASES: readonly BenchCase[] = [
  ...LOADS.map(warm),
  ...LOADS.map(cold),
  ...LOADS.map((load) => allocating('empty', load)),
  ...LOADS.map((load) => allocating('overlay', load)),
];
