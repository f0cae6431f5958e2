/**
 * Replies of a server as they come in pieces. Data is counted and thrown away; nothing is stored but
 * a header. Every length and offset is held against the request before a byte of it is taken.
 *
 * Source: NBD specification, "Simple reply message" and "Structured reply chunk message".
 */

import { readUInt64BE } from '../../lib/uint64.ts';
import { Chunk, ChunkFlag, Magic, WireBytes } from '../../nbd/protocol.ts';
import { OP } from '../../trace/request-batch.ts';
import type { Outstanding } from './outstanding.ts';
import { CHUNK_ERROR_BIT, ERROR_BYTES_MAX, violation } from './protocol.ts';

const MAGIC_BYTES = 4;
const SIMPLE_BYTES = WireBytes.SIMPLE_REPLY;
const CHUNK_BYTES = WireBytes.CHUNK_HEADER;
/** What is looked at of the payload of a chunk of data, a hole, and an error. */
const DATA_HEAD_BYTES = WireBytes.CHUNK_OFFSET;
const HOLE_HEAD_BYTES = WireBytes.CHUNK_HOLE;
const ERROR_HEAD_BYTES = 6;
/** Chunks of one reply: a server that never ends one would never be done. */
const CHUNK_COUNT_MAX = 65_536;

export class ReplyReader {
  readonly #outstanding: Outstanding;
  readonly #isStructured: boolean;
  readonly #onReply: (slot: number, errno: number) => void;
  readonly #head = Buffer.alloc(CHUNK_BYTES + HOLE_HEAD_BYTES);
  #headBytes = 0;
  #wantedBytes: number = MAGIC_BYTES;
  /** Bytes of payload still to come, after which the reply, or chunk, ends. */
  #skipBytes = 0;
  #slot = -1;
  #isLast = false;

  /** `onReply` is told of each request that is answered; its slot is still taken then. */
  constructor(
    outstanding: Outstanding,
    isStructured: boolean,
    onReply: (slot: number, errno: number) => void,
  ) {
    this.#outstanding = outstanding;
    this.#isStructured = isStructured;
    this.#onReply = onReply;
  }

  /** Takes bytes of the server. Throws a TmemError for what no server may send. */
  feed(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#skipBytes > 0) {
        const skipped = Math.min(this.#skipBytes, chunk.length - at);
        this.#skipBytes -= skipped;
        at += skipped;
        if (this.#skipBytes === 0) this.#end();
        continue;
      }
      const taken = Math.min(this.#wantedBytes - this.#headBytes, chunk.length - at);
      chunk.copy(this.#head, this.#headBytes, at, at + taken);
      this.#headBytes += taken;
      at += taken;
      if (this.#headBytes === this.#wantedBytes) this.#takeHead();
    }
  }

  #takeHead(): void {
    switch (this.#wantedBytes) {
      case MAGIC_BYTES:
        this.#takeMagic(this.#head.readUInt32BE(0));
        break;
      case SIMPLE_BYTES:
        this.#takeSimple();
        break;
      case CHUNK_BYTES:
        this.#takeChunk();
        break;
      default:
        this.#takePayloadHead();
    }
  }

  #takeMagic(magic: number): void {
    const isChunk = magic === Magic.STRUCTURED_REPLY && this.#isStructured;
    if (!isChunk && magic !== Magic.SIMPLE_REPLY)
      throw violation('a reply without its magic number');
    this.#wantedBytes = isChunk ? CHUNK_BYTES : SIMPLE_BYTES;
  }

  #findSlot(): number {
    const slot = this.#outstanding.slotOf(this.#head.readUInt32BE(8), this.#head.readUInt32BE(12));
    if (slot === -1) throw violation('an answer to what was not asked');
    this.#slot = slot;
    return slot;
  }

  #takeSimple(): void {
    const { op, length, errno, received } = this.#outstanding;
    const slot = this.#findSlot();
    errno[slot] = this.#head.readUInt32BE(4);
    this.#isLast = true;
    if (errno[slot] !== 0 || op[slot] !== OP.read) {
      this.#end();
      return;
    }
    if (this.#isStructured) throw violation('data in a reply of the simple style');
    received[slot] = length[slot]!;
    this.#skip(length[slot]!);
  }

  #takeChunk(): void {
    const slot = this.#findSlot();
    const { chunks, op, length } = this.#outstanding;
    const type = this.#head.readUInt16BE(6);
    const bytes = this.#head.readUInt32BE(16);
    this.#isLast = (this.#head.readUInt16BE(4) & ChunkFlag.DONE) !== 0;
    if (++chunks[slot]! > CHUNK_COUNT_MAX) throw violation('a reply without end');
    const isContent = type === Chunk.OFFSET_DATA || type === Chunk.OFFSET_HOLE;
    if (isContent && op[slot] !== OP.read) throw violation('data that was not asked for');
    if (type === Chunk.NONE && bytes === 0 && this.#isLast) {
      this.#end();
    } else if (type === Chunk.OFFSET_DATA && bytes > DATA_HEAD_BYTES) {
      if (bytes - DATA_HEAD_BYTES > length[slot]!) throw violation('more data than was asked for');
      this.#wantedBytes = CHUNK_BYTES + DATA_HEAD_BYTES;
    } else if (type === Chunk.OFFSET_HOLE && bytes === HOLE_HEAD_BYTES) {
      this.#wantedBytes = CHUNK_BYTES + HOLE_HEAD_BYTES;
    } else if (type >= CHUNK_ERROR_BIT && bytes >= ERROR_HEAD_BYTES && bytes <= ERROR_BYTES_MAX) {
      this.#wantedBytes = CHUNK_BYTES + ERROR_HEAD_BYTES;
    } else {
      throw violation(`a chunk of type ${type} with ${bytes} bytes`);
    }
  }

  #takePayloadHead(): void {
    const head = this.#head;
    const bytes = head.readUInt32BE(16);
    const type = head.readUInt16BE(6);
    if (type >= CHUNK_ERROR_BIT) {
      const { errno } = this.#outstanding;
      const said = head.readUInt32BE(CHUNK_BYTES);
      if (said === 0) throw violation('an error that is none');
      errno[this.#slot] ||= said;
      this.#skip(bytes - ERROR_HEAD_BYTES);
      return;
    }
    const offset = readUInt64BE(head, CHUNK_BYTES);
    const isHole = type === Chunk.OFFSET_HOLE;
    const length = isHole ? head.readUInt32BE(CHUNK_BYTES + 8) : bytes - DATA_HEAD_BYTES;
    this.#takeContent(offset, length);
    this.#skip(isHole ? 0 : length);
  }

  #takeContent(offset: number, length: number): void {
    const { received, offset: starts, length: lengths } = this.#outstanding;
    const slot = this.#slot;
    const start = starts[slot]!;
    const end = start + lengths[slot]!;
    const isInside = length > 0 && offset >= start && offset + length <= end;
    // What comes twice is as wrong as what is too much.
    if (!isInside || received[slot]! + length > lengths[slot]!) {
      throw violation('data from where none was asked for');
    }
    received[slot]! += length;
  }

  #skip(bytes: number): void {
    this.#skipBytes = bytes;
    if (bytes === 0) this.#end();
  }

  /** The reply, or the chunk of it, is over. */
  #end(): void {
    this.#headBytes = 0;
    this.#wantedBytes = MAGIC_BYTES;
    if (!this.#isLast) return;
    const { op, errno, received, length } = this.#outstanding;
    const slot = this.#slot;
    if (op[slot] === OP.read && errno[slot] === 0 && received[slot] !== length[slot]) {
      throw violation(`a read of ${length[slot]} bytes answered with ${received[slot]}`);
    }
    this.#onReply(slot, errno[slot]!);
    this.#outstanding.free(slot);
  }
}
