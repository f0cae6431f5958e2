/**
 * Requests of a trace, as columns that are reused from one batch to the next: no object, and no
 * BigInt, per request.
 */

/** What a request asked for; the numbers are those of our own trace format. */
export const OP = { read: 0, write: 1, trim: 2, flush: 3, zero: 4 } as const;

/** A number in `OP`. */
export type Op = (typeof OP)[keyof typeof OP];

/** The names of the operations, by number. */
export const OP_NAMES = ['read', 'write', 'trim', 'flush', 'zero'] as const;

/** What latencies and sizes of content are at most: a batch says this of all that are longer. */
const UINT32_MAX = 0xffff_ffff;

/** The requests a batch of a reader holds at most. */
export const BATCH_CAPACITY = 16_384;

/**
 * Up to `capacity` requests, of which the first `count` count. Whoever reads a trace may look at a
 * batch until asking for the next one, and copies what is to stay.
 */
export class RequestBatch {
  count = 0;
  readonly capacity: number;
  /** Microseconds on the trace's own clock: only differences mean something in every format. */
  readonly timeUs: Float64Array;
  /** Bytes from the start of the volume; of a trace of keys, the key. Whole, at most 2^53 - 1. */
  readonly offset: Float64Array;
  /** Bytes, 0 for a flush; of a trace of keys, 1. */
  readonly length: Float64Array;
  /** Index of the volume's name in `Trace.volumes`. */
  readonly volume: Uint32Array;
  /** One of `OP`. */
  readonly op: Uint8Array;
  /** Microseconds until the request was answered, where the trace knows, at most 2^32 - 1; else 0. */
  readonly latencyUs: Uint32Array;
  /**
   * Bytes: the compressed size of the content, of a trace of keys the object's size, at most
   * 2^32 - 1; 0 where not known.
   */
  readonly contentBytes: Uint32Array;

  constructor(capacity: number = BATCH_CAPACITY) {
    this.capacity = capacity;
    this.timeUs = new Float64Array(capacity);
    this.offset = new Float64Array(capacity);
    this.length = new Float64Array(capacity);
    this.volume = new Uint32Array(capacity);
    this.op = new Uint8Array(capacity);
    this.latencyUs = new Uint32Array(capacity);
    this.contentBytes = new Uint32Array(capacity);
  }

  /** Adds a request; there must be room. Longer latencies and contents than fit become the longest. */
  push(
    timeUs: number,
    offset: number,
    length: number,
    volume: number,
    op: number,
    latencyUs: number,
    contentBytes: number,
  ): void {
    const at = this.count++;
    this.timeUs[at] = timeUs;
    this.offset[at] = offset;
    this.length[at] = length;
    this.volume[at] = volume;
    this.op[at] = op;
    this.latencyUs[at] = Math.min(latencyUs, UINT32_MAX);
    this.contentBytes[at] = Math.min(contentBytes, UINT32_MAX);
  }

  /** Adds request `index` of `other`; there must be room. */
  pushFrom(other: RequestBatch, index: number): void {
    const at = this.count++;
    this.timeUs[at] = other.timeUs[index]!;
    this.offset[at] = other.offset[index]!;
    this.length[at] = other.length[index]!;
    this.volume[at] = other.volume[index]!;
    this.op[at] = other.op[index]!;
    this.latencyUs[at] = other.latencyUs[index]!;
    this.contentBytes[at] = other.contentBytes[index]!;
  }
}
