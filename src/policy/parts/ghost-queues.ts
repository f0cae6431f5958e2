/**
 * Queues of ghosts for the policies that need to know exactly which pages left in which order, as
 * 2Q, ARC and LIRS do: found by key, taken out from anywhere, the oldest let go first.
 *
 * In a simulation keys are dense numbers, and a ghost has the place of its key: 8 bytes for each
 * key that ever was one, 9 with queues, 12 with stamps. In a cache keys are 32-bit hashes in a
 * table with open addressing; two pages with one hash are one ghost, which misplaces a page in a
 * billion. A ghost costs 17 to 34 bytes there, by what is kept and by when the arrays have grown:
 * more than a fingerprint, since these policies move ghosts one by one.
 */
import { GhostMemory } from './ghost.ts';

const NODES_MIN = 64;
const LINK_BYTES = 8;
const QUEUE_BYTES = 1;
const STAMP_BYTES = 4;
/** Where keys are hashes. */
const KEY_BYTES = 4;
/** Arrays that are full grow by this, so that there is never much room that nobody uses. */
const GROWTH = 1.25;
/** Of the table, which is a power of two, at most this part is taken. */
const LOAD_MAX = 0.75;
/** A link of the newest, towards where there is none. */
const NONE = -1;

export interface GhostQueuesOptions {
  /** Up to 256. */
  readonly queueCount: number;
  /** Given where keys are dense numbers below it. */
  readonly keyCount: number | undefined;
  /** Whether stamps are kept; else they are all 0. */
  readonly hasStamps?: boolean;
}

export class GhostQueues {
  /** Ghosts in each queue. */
  readonly counts: Int32Array;
  private readonly memory: GhostMemory;
  /** Whether the node of a ghost is its key. */
  private readonly isDense: boolean;
  private readonly hasStamps: boolean;
  private readonly bytesPerNode: number;
  /** By hash, if keys are hashes: node + 1, or 0. */
  private table = new Int32Array(0);
  private keys = new Uint32Array(0);
  /**
   * Two for each node. Towards the newest: node + 1, `NONE` for the newest itself, 0 for no ghost.
   * Towards the oldest: node + 1 or 0; for a node that is free, the next one that is.
   */
  private links = new Int32Array(0);
  /** Of each node, if there are several. */
  private queues = new Uint8Array(0);
  private stamps = new Int32Array(0);
  private nodeCount = 0;
  /** Of a list: node + 1, or 0. */
  private firstFree = 0;
  private readonly newest: Int32Array;
  private readonly oldest: Int32Array;
  private bytes = 0;

  constructor(options: GhostQueuesOptions, memory = new GhostMemory()) {
    const { queueCount, keyCount, hasStamps = false } = options;
    this.counts = new Int32Array(queueCount);
    this.newest = new Int32Array(queueCount);
    this.oldest = new Int32Array(queueCount);
    this.isDense = keyCount !== undefined;
    this.hasStamps = hasStamps;
    this.bytesPerNode =
      LINK_BYTES +
      (queueCount > 1 ? QUEUE_BYTES : 0) +
      (hasStamps ? STAMP_BYTES : 0) +
      (keyCount === undefined ? KEY_BYTES : 0);
    this.memory = memory;
    if (keyCount !== undefined) this.resize(keyCount);
  }

  get metadataBytes(): number {
    return this.bytes;
  }

  /** The queue that has a ghost of the key, or -1. */
  queueOf(key: number): number {
    const node = this.find(key);
    return node === -1 ? -1 : this.queueOfNode(node);
  }

  /**
   * A ghost of the key is the newest of a queue from now on; `stamp` stays with it. Where memory is
   * short there may be none: that misplaces one page.
   */
  add(queue: number, key: number, stamp = 0): void {
    this.take(key);
    const node = this.isDense ? key : this.newNode(key);
    if (node === -1) return;
    const { links } = this;
    const newest = this.newest[queue]!;
    links[2 * node] = NONE;
    links[2 * node + 1] = newest;
    if (newest === 0) this.oldest[queue] = node + 1;
    else links[2 * (newest - 1)] = node + 1;
    this.newest[queue] = node + 1;
    if (this.counts.length > 1) this.queues[node] = queue;
    if (this.hasStamps) this.stamps[node] = stamp;
    this.counts[queue]!++;
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
    return this.hasStamps ? this.stamps[this.oldest[queue]! - 1]! : 0;
  }

  /** Forgets all, and gives the memory back; with dense keys it is of no use afterwards. */
  release(): void {
    this.counts.fill(0);
    this.newest.fill(0);
    this.oldest.fill(0);
    this.nodeCount = 0;
    this.firstFree = 0;
    this.resize(0);
  }

  private find(key: number): number {
    const { table, keys } = this;
    if (this.isDense) {
      const newer = this.links[2 * key];
      return newer === undefined || newer === 0 ? -1 : key;
    }
    if (table.length === 0) return -1;
    const mask = table.length - 1;
    for (let at = mix(key) & mask; ; at = (at + 1) & mask) {
      const node = table[at]! - 1;
      if (node === -1 || keys[node] === key >>> 0) return node;
    }
  }

  private queueOfNode(node: number): number {
    return this.counts.length > 1 ? this.queues[node]! : 0;
  }

  private drop(node: number): number {
    const { links } = this;
    const newer = links[2 * node]!;
    const older = links[2 * node + 1]!;
    const queue = this.queueOfNode(node);
    if (newer === NONE) this.newest[queue] = older;
    else links[2 * (newer - 1) + 1] = older;
    if (older === 0) this.oldest[queue] = newer === NONE ? 0 : newer;
    else links[2 * (older - 1)] = newer;
    links[2 * node] = 0;
    this.counts[queue]!--;
    if (!this.isDense) this.freeNode(node);
    return queue;
  }

  /** A node for a key that has none, or -1 when there is none left and memory is short. */
  private newNode(key: number): number {
    let node = this.firstFree - 1;
    if (node === -1) {
      if (this.nodeCount === this.keys.length && !this.grow()) return -1;
      node = this.nodeCount++;
    } else {
      this.firstFree = this.links[2 * node + 1]!;
    }
    this.keys[node] = key;
    this.enterTable(node);
    return node;
  }

  private freeNode(node: number): void {
    this.leaveTable(node);
    this.links[2 * node + 1] = this.firstFree;
    this.firstFree = node + 1;
  }

  /** Takes longer arrays; false when memory is short. */
  private grow(): boolean {
    try {
      this.resize(Math.max(NODES_MIN, Math.ceil(GROWTH * this.nodeCount)));
      return true;
    } catch (cause) {
      if (cause instanceof RangeError) return false;
      throw cause;
    }
  }

  /** Takes arrays of another length, all of them or none; those nodes that are in use stay. */
  private resize(length: number): void {
    const { nodeCount } = this;
    const links = new Int32Array(2 * length);
    const queues = new Uint8Array(this.counts.length > 1 ? length : 0);
    const stamps = new Int32Array(this.hasStamps ? length : 0);
    const keys = new Uint32Array(this.isDense ? 0 : length);
    const room = roomFor(keys.length);
    const hasRoom = room === this.table.length;
    const table = hasRoom ? this.table : new Int32Array(room);
    links.set(this.links.subarray(0, 2 * nodeCount));
    queues.set(this.queues.subarray(0, nodeCount));
    stamps.set(this.stamps.subarray(0, nodeCount));
    keys.set(this.keys.subarray(0, nodeCount));
    this.links = links;
    this.queues = queues;
    this.stamps = stamps;
    this.keys = keys;
    this.table = table;
    // It grows only while every node is in use.
    if (!hasRoom) for (let node = 0; node < nodeCount; node++) this.enterTable(node);
    const bytes = length * this.bytesPerNode + this.table.byteLength;
    this.memory.bytes += bytes - this.bytes;
    this.bytes = bytes;
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

/** The length of a table for so many nodes. */
function roomFor(nodeCount: number): number {
  let room = nodeCount === 0 ? 0 : 1;
  while (room * LOAD_MAX < nodeCount) room *= 2;
  return room;
}

/** The finalizer of MurmurHash3. */
function mix(key: number): number {
  let h = key ^ (key >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
