/** A volume of the trace on the export that it is replayed on: where its requests go, and which do. */

import { TransmissionFlag } from '../../nbd/protocol.ts';
import { OP } from '../../trace/request-batch.ts';
import type { LiveConnection } from './connection.ts';

/** Requests without payload are bounded by the 32 bits of their length alone. */
const BARE_BYTES_MAX = 1024 * 1024 * 1024;
/** Folding keeps offsets as aligned as they were, to that. */
const FOLD_BYTES = 4096;

/** Where requests of one volume go, and the connections that take them. */
export class LiveVolume {
  readonly connections: readonly LiveConnection[];
  readonly sizeBytes: number;
  /** What `place` found: where the request goes on the export, bytes. */
  offset = 0;
  length = 0;
  readonly #minimumBytes: number;
  readonly #maximumBytes: number;
  readonly #foldBytes: number;
  readonly #flags: number;
  #next = 0;

  /** All connections are to one export. */
  constructor(connections: readonly [LiveConnection, ...LiveConnection[]]) {
    this.connections = connections;
    const { sizeBytes, flags, minimumBytes, maximumBytes } = connections[0].negotiated;
    this.sizeBytes = sizeBytes;
    this.#flags = flags;
    this.#minimumBytes = minimumBytes;
    this.#maximumBytes = maximumBytes;
    this.#foldBytes = sizeBytes < FOLD_BYTES ? sizeBytes : sizeBytes - (sizeBytes % FOLD_BYTES);
  }

  get isReadOnly(): boolean {
    return (this.#flags & TransmissionFlag.READ_ONLY) !== 0;
  }

  /** Whether the server takes such requests. */
  supports(op: number): boolean {
    if (op === OP.flush) return (this.#flags & TransmissionFlag.SEND_FLUSH) !== 0;
    if (op === OP.trim) return (this.#flags & TransmissionFlag.SEND_TRIM) !== 0;
    if (op === OP.zero) return (this.#flags & TransmissionFlag.SEND_WRITE_ZEROES) !== 0;
    return true;
  }

  /** The longest request of that kind. */
  pieceBytesMax(op: number): number {
    return op === OP.read || op === OP.write ? this.#maximumBytes : BARE_BYTES_MAX;
  }

  /**
   * Puts a request into `offset` and `length`: folded into the export if it is beyond its end, and
   * as aligned as the server wants it. Answers whether it was folded.
   */
  place(offset: number, length: number): boolean {
    const fold = this.#foldBytes;
    const isFolded = offset + length > this.sizeBytes;
    const size = Math.min(length, fold);
    const start = isFolded ? Math.min(offset % fold, fold - size) : offset;
    const minimum = this.#minimumBytes;
    this.offset = start - (start % minimum);
    const end = Math.ceil((start + size) / minimum) * minimum;
    this.length = Math.min(end, Math.max(this.sizeBytes, start + size)) - this.offset;
    return isFolded;
  }

  /** A connection with room, each in turn; undefined if there is none. */
  connection(): LiveConnection | undefined {
    const { connections } = this;
    for (let i = 0; i < connections.length; i++) {
      const connection = connections[(this.#next + i) % connections.length];
      if (connection?.hasRoom !== true) continue;
      this.#next = (this.#next + i + 1) % connections.length;
      return connection;
    }
    return undefined;
  }
}
