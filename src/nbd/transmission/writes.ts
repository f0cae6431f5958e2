/**
 * A WRITE whose payload is arriving. The payload is written piece by piece as it comes, so that a
 * request of any length needs no more than a few buffers of the pool. The reply goes out when every
 * piece is on the image, and with FUA on stable storage.
 */

import type { PooledBuffer } from '../../lib/buffer-pool.ts';
import { PIECE_BYTES } from '../../lib/buffer-pool.ts';
import { TmemError } from '../../lib/errors.ts';
import { Command, CommandFlag } from '../protocol.ts';
import type { Request } from './request.ts';
import type { Transmission } from './transmission.ts';

/** Pieces of one request that may be under way; the payload waits for the oldest beyond that. */
const PIECES_UNDER_WAY_MAX = 4;

export class IncomingWrite {
  readonly #transmission: Transmission;
  readonly #hasFua: boolean;
  #offset: number;
  #bytesLeft: number;
  #piece: PooledBuffer | undefined;
  #pieceOffset = 0; // where on the export the piece begins
  #pieceLength = 0;
  #pieceFilled = 0;
  #underWay = 0;
  #isWaiting = false;
  #isAbandoned = false;
  #failure: unknown;
  #settle: { resolve: () => void; reject: (cause: unknown) => void } | undefined;

  constructor(transmission: Transmission, request: Request) {
    this.#transmission = transmission;
    this.#offset = request.offset;
    this.#bytesLeft = request.length;
    this.#hasFua = (request.flags & CommandFlag.FUA) !== 0;
    const cookie = request.cookie();
    transmission.wait(Command.WRITE, this.#finished(), (errno) => {
      transmission.appendShort(cookie, Command.WRITE, errno);
    });
  }

  /** Whether the whole payload was taken. */
  get isComplete(): boolean {
    return this.#bytesLeft === 0;
  }

  /** Whether it has a buffer that is yet to be filled. */
  get hasPiece(): boolean {
    return this.#piece !== undefined;
  }

  /** Takes payload from `input[at]` on; answers how many bytes. 0 means: wait to be resumed. */
  take(input: Buffer, at: number): number {
    if (this.#piece === undefined && !this.#beginPiece()) return 0;
    const piece = this.#piece!;
    const { pageBytes } = this.#transmission.options.export;
    const wanted = this.#pieceLength - this.#pieceFilled;
    const taken = Math.min(wanted, input.length - at);
    const to = piece.dataOffset + (this.#pieceOffset % pageBytes) + this.#pieceFilled;
    input.copy(piece.buffer, to, at, at + taken);
    this.#pieceFilled += taken;
    this.#bytesLeft -= taken;
    if (this.#pieceFilled === this.#pieceLength) this.#sendPiece(piece);
    return taken;
  }

  /** The rest of the payload will never come: the write fails when what is under way has ended. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#failure ??= new TmemError('invalid', 'the payload of a write was cut off');
    if (this.#piece !== undefined) this.#transmission.writeShare.release(this.#piece);
    this.#piece = undefined;
    this.#bytesLeft = 0;
    this.#finishIfDone();
  }

  /** A buffer for the next piece, if one may be had now. */
  #beginPiece(): boolean {
    if (this.#isWaiting || this.#underWay >= PIECES_UNDER_WAY_MAX) return false;
    const { writeShare: share } = this.#transmission;
    const { pageBytes } = this.#transmission.options.export;
    const inPage = this.#offset % pageBytes;
    this.#pieceOffset = this.#offset;
    this.#pieceLength = Math.min(this.#bytesLeft, PIECE_BYTES - inPage);
    this.#pieceFilled = 0;
    const room = Math.ceil((inPage + this.#pieceLength) / pageBytes) * pageBytes;
    this.#piece = share.hasRoomFor(room) ? share.take(room) : undefined;
    if (this.#piece === undefined) this.#waitForBuffer(room);
    return this.#piece !== undefined;
  }

  #waitForBuffer(room: number): void {
    this.#isWaiting = true;
    const { writeShare: share, options } = this.#transmission;
    void share.wait(room).then((piece) => {
      this.#isWaiting = false;
      if (this.#isAbandoned) {
        share.release(piece);
        return;
      }
      this.#piece = piece;
      options.host.wake();
    });
  }

  #sendPiece(piece: PooledBuffer): void {
    const { writeShare: share } = this.#transmission;
    const { export: target, host } = this.#transmission.options;
    this.#piece = undefined;
    this.#offset += this.#pieceLength;
    this.#underWay++;
    const ended = (): void => {
      share.release(piece);
      this.#underWay--;
      this.#finishIfDone();
      if (this.#bytesLeft > 0) host.wake();
    };
    target.write(this.#pieceOffset, this.#pieceLength, piece).then(ended, (cause: unknown) => {
      this.#failure ??= cause;
      ended();
    });
  }

  #finishIfDone(): void {
    if (this.#bytesLeft > 0 || this.#underWay > 0 || this.#settle === undefined) return;
    if (this.#failure === undefined) this.#settle.resolve();
    else this.#settle.reject(this.#failure);
  }

  async #finished(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    if (this.#hasFua) await this.#transmission.options.export.sync();
  }
}
