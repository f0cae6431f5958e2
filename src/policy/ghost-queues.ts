/**
 * Queues of ghosts for the policies that need to know exactly which pages left in which order, as
 * 2Q, ARC and LIRS do: found by key, taken out from anywhere, the oldest let go first.
 *
 * In a simulation keys are dense numbers and find their ghost in an array. In a cache they are
 * 32-bit hashes in a table with open addressing; two pages with one hash are one ghost, which
 * misplaces a page in a billion. A ghost costs 28 to 56 bytes there: more than a fingerprint, since
 * these policies move ghosts one by one.
 */
import { GhostMemory } from './ghost.ts';

const NODES_MIN = 64;
/** Key, links and stamp; and what the table has for a node. */
const BYTES_PER_NODE = 20;
const TABLE_BYTES_PER_NODE = 8;

export class GhostQueues {
  /** Ghosts in each queue. */
  readonly counts: Int32Array;
  private readonly memory: GhostMemory;
  /** By key, if keys are dense: node + 1, or 0. */
  private readonly nodeByKey: Int32Array | undefined;
  /** By hash, if they are not: node + 1, or 0. Twice as many as nodes, a power of two. */
  private table = new Int32Array(0);
  private keys = new Uint32Array(0);
  /** Three for each node: the node + 1 towards the newest and towards the oldest; the queue. */
  private links = new Int32Array(0);
  private stamps = new Int32Array(0);
  private nodeCount = 0;
  /** Free nodes are a list by their first link: node + 1, or 0. */
  private firstFree = 0;
  private readonly newest: Int32Array;
  private readonly oldest: Int32Array;
  private bytes = 0;

  /** `keyCount` is given where keys are dense numbers below it. */
  constructor(queueCount: number, keyCount: number | undefined, memory = new GhostMemory()) {
    this.counts = new Int32Array(queueCount);
    this.newest = new Int32Array(queueCount);
    this.oldest = new Int32Array(queueCount);
    this.nodeByKey = keyCount === undefined ? undefined : new Int32Array(keyCount);
    this.memory = memory;
  }

  get metadataBytes(): number {
    return this.bytes;
  }

  /** The queue that has a ghost of the key, or -1. */
  queueOf(key: number): number {
    const node = this.find(key);
    return node === -1 ? -1 : this.links[3 * node + 2]!;
  }

  /** A ghost of the key is the newest of a queue from now on; `stamp` stays with it. */
  add(queue: number, key: number, stamp = 0): void {
    this.take(key);
    const node = this.newNode();
    const { links } = this;
    const newest = this.newest[queue]!;
    links[3 * node] = 0;
    links[3 * node + 1] = newest;
    links[3 * node + 2] = queue;
    if (newest === 0) this.oldest[queue] = node + 1;
    else links[3 * (newest - 1)] = node + 1;
    this.newest[queue] = node + 1;
    this.keys[node] = key;
    this.stamps[node] = stamp;
    this.counts[queue]!++;
    if (this.nodeByKey === undefined) this.enterTable(node);
    else this.nodeByKey[key] = node + 1;
  }

  /** Forgets the ghost of a key; answers the queue that had it, or -1. */
  take(key: number): number {
    const node = this.find(key);
    return node === -1 ? -1 : this.drop(node);
  }

  /** Forgets the oldest of a queue that has any. */
  dropOldest(queue: number): void {
    this.drop(this.oldest[queue]! - 1);
  }

  /** Stamp of the oldest ghost of a queue that has any. */
  oldestStamp(queue: number): number {
    return this.stamps[this.oldest[queue]! - 1]!;
  }

  /** Forgets all, and gives the memory back. */
  release(): void {
    this.counts.fill(0);
    this.newest.fill(0);
    this.oldest.fill(0);
    this.nodeByKey?.fill(0);
    this.nodeCount = 0;
    this.firstFree = 0;
    this.grow(0);
  }

  private find(key: number): number {
    if (this.nodeByKey !== undefined) return this.nodeByKey[key]! - 1;
    const { table, keys } = this;
    if (table.length === 0) return -1;
    const mask = table.length - 1;
    for (let at = mix(key) & mask; ; at = (at + 1) & mask) {
      const node = table[at]! - 1;
      if (node === -1 || keys[node] === key >>> 0) return node;
    }
  }

  private drop(node: number): number {
    const { links, keys } = this;
    const newer = links[3 * node]!;
    const older = links[3 * node + 1]!;
    const queue = links[3 * node + 2]!;
    if (this.nodeByKey === undefined) this.leaveTable(node);
    else this.nodeByKey[keys[node]!] = 0;
    if (newer === 0) this.newest[queue] = older;
    else links[3 * (newer - 1) + 1] = older;
    if (older === 0) this.oldest[queue] = newer;
    else links[3 * (older - 1)] = newer;
    links[3 * node] = this.firstFree;
    this.firstFree = node + 1;
    this.counts[queue]!--;
    return queue;
  }

  private newNode(): number {
    if (this.firstFree !== 0) {
      const node = this.firstFree - 1;
      this.firstFree = this.links[3 * node]!;
      return node;
    }
    if (this.nodeCount === this.keys.length) this.grow(this.nextLength());
    return this.nodeCount++;
  }

  /**
   * With dense keys room for all of them: memory is taken as it is touched, and what is not
   * copied is not there twice.
   */
  private nextLength(): number {
    return this.nodeByKey?.length ?? Math.max(NODES_MIN, 2 * this.nodeCount);
  }

  /** Takes arrays of another length; those nodes that are in use stay. */
  private grow(length: number): void {
    const isHashed = this.nodeByKey === undefined;
    const keys = new Uint32Array(length);
    const links = new Int32Array(3 * length);
    const stamps = new Int32Array(length);
    keys.set(this.keys.subarray(0, this.nodeCount));
    links.set(this.links.subarray(0, 3 * this.nodeCount));
    stamps.set(this.stamps.subarray(0, this.nodeCount));
    this.keys = keys;
    this.links = links;
    this.stamps = stamps;
    const bytes = length * (BYTES_PER_NODE + (isHashed ? TABLE_BYTES_PER_NODE : 0));
    this.memory.bytes += bytes - this.bytes;
    this.bytes = bytes;
    if (!isHashed) return;
    this.table = new Int32Array(2 * length);
    // It grows only while every node is in use.
    for (let node = 0; node < this.nodeCount; node++) this.enterTable(node);
  }

  private enterTable(node: number): void {
    const { table } = this;
    const mask = table.length - 1;
    let at = mix(this.keys[node]!) & mask;
    while (table[at] !== 0) at = (at + 1) & mask;
    table[at] = node + 1;
  }

  /** Takes a node out and closes the gap: a later one of the run that may stand there moves up. */
  private leaveTable(node: number): void {
    const { table, keys } = this;
    const mask = table.length - 1;
    let gap = mix(keys[node]!) & mask;
    while (table[gap] !== node + 1) gap = (gap + 1) & mask;
    for (let at = (gap + 1) & mask; table[at] !== 0; at = (at + 1) & mask) {
      const home = mix(keys[table[at]! - 1]!) & mask;
      if (((at - home) & mask) < ((at - gap) & mask)) continue;
      table[gap] = table[at]!;
      gap = at;
    }
    table[gap] = 0;
  }
}

/** The finalizer of MurmurHash3. */
function mix(key: number): number {
  let h = key ^ (key >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
