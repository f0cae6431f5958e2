/**
 * The way of replies to a client. Short replies and copied data gather in a batch, and what has
 * gathered goes out in one write; data that lies elsewhere, a lent page or a buffer of the pool,
 * joins the same write from where it lies. A connection owns two batches: one fills while the
 * socket takes what is in the other. When both are full there is no room, and the connection stops
 * taking requests until there is. That bounds the bytes in flight and needs no memory at run time.
 */

import type { PooledBuffer } from '../../lib/buffer-pool.ts';
import { PIECE_BYTES } from '../../lib/buffer-pool.ts';
import type { Lender } from '../../tmem/lender.ts';
import type { BufferShare } from './buffer-share.ts';
import { SHORT_REPLY_BYTES_MAX } from './replies.ts';

/** Room of a batch: one piece of data and its header, or many small replies. */
export const BATCH_BYTES = PIECE_BYTES + 4096;
const BATCH_COUNT = 2;
/** Memory one connection's batches take, bytes. */
export const WRITER_BYTES = BATCH_BYTES * BATCH_COUNT;
/** Lent bytes under way to one client; beyond them there is no room. */
const LENT_BYTES_MAX = 1024 * 1024;
/** Bytes of replies outside of batches and pool, beyond which no request is taken. */
const OWNED_BYTES_MAX = 64 * 1024;
/**
 * Cached data that one turn of the event loop answers. A client that takes its replies as fast as they
 * are made would else have the loop to itself for all that it has asked, which may be gigabytes.
 */
const TURN_BYTES_MAX = 4 * 1024 * 1024;

/** Where replies go: calls `written` when the system has taken all of the buffers. */
export interface ReplySink {
  write(buffers: readonly Buffer[], written: () => void): void;
}

/** A buffer that fills from its begin; it begins anew when all that went out of it has arrived. */
interface Batch {
  readonly buffer: Buffer;
  /** Writes under way that use it. */
  inFlight: number;
}

/** What one write borrowed, to be given back when it is done. */
interface Shipment {
  readonly batch: Batch | undefined;
  readonly loans: readonly number[];
  readonly pieces: readonly PooledBuffer[];
  readonly lentBytes: number;
  readonly ownedBytes: number;
}

const NOTHING: readonly never[] = [];

export class ReplyWriter {
  /** Where the next byte goes in the batch that fills. Valid after `reserve`. */
  position = 0;
  /** The pooled buffers of this client's replies come from here, and go back there. */
  readonly share: BufferShare;
  /** Called when room appears after one of the questions for it had been answered no. */
  onRoom: () => void = () => undefined;

  readonly #sink: ReplySink;
  readonly #lender: Lender | undefined;
  readonly #freeBatches: Batch[] = [];
  #batch: Batch;
  readonly #shipped: Shipment[] = []; // in order of writing; writes end in that order
  #segments: Buffer[] = [];
  #segmentStart = 0;
  #usesBatch = false; // one of the segments lies in the batch
  #loans: number[] = [];
  #pieces: PooledBuffer[] = [];
  #lentBytes = 0;
  #lentInFlight = 0;
  #ownedBytes = 0;
  #ownedInFlight = 0;
  #turnBytes = 0;
  #isWaiting = false;
  #isClosed = false;
  #isFlushScheduled = false;

  constructor(sink: ReplySink, share: BufferShare, lender: Lender | undefined) {
    this.#sink = sink;
    this.#lender = lender;
    this.share = share;
    share.onRoom = () => this.onRoom();
    this.#batch = createBatch();
    for (let i = 1; i < BATCH_COUNT; i++) this.#freeBatches.push(createBatch());
  }

  /** The batch that fills. Valid after `reserve`. */
  get batch(): Buffer {
    return this.#batch.buffer;
  }

  /** How many writes have ended, and whether one is under way: so it is seen that none ends. */
  shippedCount = 0;
  get isShipping(): boolean {
    return this.#shipped.length > 0;
  }

  /** Makes room for `bytes` (at most BATCH_BYTES) at `position`, or answers no: try at `onRoom`. */
  reserve(bytes: number): boolean {
    if (this.position + bytes <= BATCH_BYTES) return true;
    if (this.#isClosed)
      this.position = this.#segmentStart = 0; // what is appended goes nowhere
    else this.flush();
    if (this.position > 0 && !this.#turnOver()) {
      this.#isWaiting = true;
      return false;
    }
    return true;
  }

  /**
   * Whether a request may be taken, whose reply will be short. Beyond this what is appended goes
   * out from memory of its own, so what a client has not read must stop it from asking for more.
   */
  get hasRoom(): boolean {
    const isBounded = this.#ownedBytes + this.#ownedInFlight <= OWNED_BYTES_MAX;
    if (isBounded && this.reserve(SHORT_REPLY_BYTES_MAX)) return true;
    this.#isWaiting = true;
    return false;
  }

  /** As `reserve`, of `headerBytes`, before data that will be lent. */
  reserveLoan(headerBytes: number, lentBytes: number): boolean {
    if (this.#lentInFlight + this.#lentBytes + lentBytes > LENT_BYTES_MAX) {
      this.flush();
      if (this.#lentInFlight > 0) {
        this.#isWaiting = true;
        return false;
      }
    }
    return this.reserve(headerBytes);
  }

  /** A turn of the event loop begins in which requests are taken. */
  beginTurn(): void {
    this.#turnBytes = 0;
  }

  /** Whether `bytes` more of cached data may be answered in this turn; if not, it is for the next. */
  hasTurnFor(bytes: number): boolean {
    const isOver = this.#turnBytes >= TURN_BYTES_MAX;
    if (isOver) this.onRoom();
    else this.#turnBytes += bytes;
    return !isOver;
  }

  /** Appends data that lies in a lender's memory, behind what the batch holds so far. */
  appendLent(buffer: Buffer, start: number, end: number): void {
    this.#closeSegment();
    this.#segments.push(buffer.subarray(start, end));
    this.#lentBytes += end - start;
  }

  /** Takes over loans: they are returned when the write is done. */
  adoptLoans(loans: readonly number[]): void {
    for (const loan of loans) this.#loans.push(loan);
  }

  /** Appends bytes of a pooled buffer, which is released when the write is done. */
  appendPiece(piece: PooledBuffer, start: number, end: number): void {
    if (this.#isClosed) {
      this.share.release(piece);
      return;
    }
    this.#closeSegment();
    this.#segments.push(piece.buffer.subarray(start, end));
    this.#pieces.push(piece);
  }

  /** Appends a buffer that nobody reuses. */
  appendOwned(bytes: Buffer): void {
    if (this.#isClosed) return;
    this.#closeSegment();
    this.#segments.push(bytes);
    this.#ownedBytes += bytes.length;
  }

  /** Sends all that was appended, in one write. */
  flush(): void {
    if (!this.#hasSomething || this.#isClosed) return;
    this.#closeSegment();
    const segments = this.#segments;
    this.#shipped.push({
      batch: this.#usesBatch ? this.#batch : undefined,
      loans: this.#takeLoans(),
      pieces: this.#takePieces(),
      lentBytes: this.#lentBytes,
      ownedBytes: this.#ownedBytes,
    });
    this.#lentInFlight += this.#lentBytes;
    this.#ownedInFlight += this.#ownedBytes;
    if (this.#usesBatch) this.#batch.inFlight++;
    this.#usesBatch = false;
    this.#segments = [];
    this.#lentBytes = this.#ownedBytes = 0;
    this.#sink.write(segments, this.#written);
  }

  /** Sends what was appended once this turn of the event loop has appended all it will. */
  flushSoon(): void {
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    setImmediate(this.#flushNow);
  }

  /** Nothing can be sent any more: gives everything back. Writes under way still end. */
  close(): void {
    this.#isClosed = true;
    this.#giveBack(this.#takeLoans(), this.#takePieces());
    this.#segments = [];
    this.#segmentStart = this.position = 0;
    this.share.close();
  }

  #takeLoans(): readonly number[] {
    const loans = this.#loans;
    if (loans.length === 0) return NOTHING;
    this.#loans = [];
    return loans;
  }

  #takePieces(): readonly PooledBuffer[] {
    const pieces = this.#pieces;
    if (pieces.length === 0) return NOTHING;
    this.#pieces = [];
    return pieces;
  }

  readonly #flushNow = (): void => {
    this.#isFlushScheduled = false;
    this.flush();
  };

  get #hasSomething(): boolean {
    return this.#segments.length > 0 || this.position > this.#segmentStart;
  }

  #closeSegment(): void {
    if (this.position === this.#segmentStart) return;
    this.#segments.push(this.#batch.buffer.subarray(this.#segmentStart, this.position));
    this.#segmentStart = this.position;
    this.#usesBatch = true;
  }

  /** Begins a batch at its start: the other one, or this one if nothing of it is under way. */
  #turnOver(): boolean {
    if (this.#batch.inFlight > 0) {
      const batch = this.#freeBatches.pop();
      if (batch === undefined) return false;
      this.#batch = batch;
    }
    this.position = this.#segmentStart = 0;
    return true;
  }

  readonly #written = (): void => {
    const shipment = this.#shipped.shift();
    this.shippedCount++;
    if (shipment === undefined) throw new Error('reply writer: a write ended that never began');
    this.#lentInFlight -= shipment.lentBytes;
    this.#ownedInFlight -= shipment.ownedBytes;
    this.#giveBack(shipment.loans, shipment.pieces);
    if (shipment.batch !== undefined) this.#returnBatch(shipment.batch);
    if (this.#isWaiting && !this.#isClosed) {
      this.#isWaiting = false;
      this.onRoom();
    }
  };

  #returnBatch(batch: Batch): void {
    batch.inFlight--;
    if (batch.inFlight > 0) return;
    if (batch !== this.#batch) this.#freeBatches.push(batch);
    else if (!this.#hasSomething && !this.#usesBatch) this.position = this.#segmentStart = 0;
  }

  #giveBack(loans: readonly number[], pieces: readonly PooledBuffer[]): void {
    for (const loan of loans) this.#lender?.returnLoan(loan);
    for (const piece of pieces) this.share.release(piece);
  }
}

function createBatch(): Batch {
  return { buffer: Buffer.from(new ArrayBuffer(BATCH_BYTES)), inFlight: 0 };
}
