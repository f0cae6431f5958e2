/**
 * Cuts the client's side of the handshake into its flags and its options (NBD specification,
 * "Newstyle negotiation"). By the length that an option announces, before anything is allocated, it
 * decides whether the data is kept, dropped, or a reason to disconnect.
 */

import {
  Magic,
  OPTION_COUNT_MAX,
  OPTION_DATA_BYTES_MAX,
  OPTION_DRAIN_BYTES_MAX,
  Option,
  STRING_BYTES_MAX,
  WireBytes,
} from '../protocol.ts';

/** An option that has arrived in full. */
export interface ReceivedOption {
  readonly kind: 'option';
  readonly option: number;
  /** Bytes of data that came with it. */
  readonly length: number;
  /** The data, or undefined where it was dropped: the option takes none, or it was too long. */
  readonly data: Buffer | undefined;
}

/** What the client said. After a violation the stream is not to be read any further. */
export type ClientMessage =
  | { readonly kind: 'flags'; readonly flags: number }
  | ReceivedOption
  | { readonly kind: 'violation'; readonly reason: string };

/** Reads one client; holds at most OPTION_DATA_BYTES_MAX bytes of data at a time. */
export class OptionReader {
  /** What the last `read` completed, or undefined while it needs more bytes. */
  message: ClientMessage | undefined;

  #part: 'flags' | 'header' | 'data' = 'flags';
  readonly #header = Buffer.alloc(WireBytes.OPTION_HEADER);
  /** Where the part goes; without a buffer its bytes are dropped. */
  #buffer: Buffer | undefined = this.#header;
  #partBytes: number = WireBytes.CLIENT_FLAGS;
  #filledBytes = 0;

  #option = 0;
  #optionCount = 0;

  /** Reads up to the end of one message or of the chunk; answers the offset behind what it read. */
  read(chunk: Buffer, offset: number): number {
    this.message = undefined;
    let at = offset;
    while (this.message === undefined) {
      const end = Math.min(chunk.length, at + this.#partBytes - this.#filledBytes);
      if (this.#buffer !== undefined) chunk.copy(this.#buffer, this.#filledBytes, at, end);
      this.#filledBytes += end - at;
      at = end;
      if (this.#filledBytes < this.#partBytes) break;
      this.message = this.#finishPart();
    }
    return at;
  }

  #expect(part: 'header' | 'data', buffer: Buffer | undefined, bytes: number): void {
    this.#part = part;
    this.#buffer = buffer;
    this.#partBytes = bytes;
    this.#filledBytes = 0;
  }

  #finishPart(): ClientMessage | undefined {
    if (this.#part === 'header') return this.#finishHeader();
    const length = this.#partBytes;
    const data = this.#buffer;
    const isFlags = this.#part === 'flags';
    this.#expect('header', this.#header, WireBytes.OPTION_HEADER);
    if (isFlags) return { kind: 'flags', flags: this.#header.readUInt32BE(0) };
    return { kind: 'option', option: this.#option, length, data };
  }

  /** A wrong magic means that the stream is out of step: there is no way to find the next option. */
  #finishHeader(): ClientMessage | undefined {
    const high = this.#header.readUInt32BE(0);
    const low = this.#header.readUInt32BE(4);
    if (high !== Magic.OPTION_HIGH || low !== Magic.OPTION_LOW) {
      return violation('what should be an option does not start with the magic of one');
    }
    const option = this.#header.readUInt32BE(8);
    const length = this.#header.readUInt32BE(12);
    this.#optionCount++;
    if (this.#optionCount > OPTION_COUNT_MAX) {
      return violation(`more than ${OPTION_COUNT_MAX} options were sent`);
    }
    if (length > OPTION_DRAIN_BYTES_MAX) {
      return violation(`option ${option} announces ${length} bytes of data`);
    }
    if (option === Option.EXPORT_NAME && length > STRING_BYTES_MAX) {
      return violation(`EXPORT_NAME announces a name of ${length} bytes`);
    }
    this.#option = option;
    const isKept = takesData(option) && length <= OPTION_DATA_BYTES_MAX;
    this.#expect('data', isKept ? Buffer.allocUnsafe(length) : undefined, length);
    return undefined;
  }
}

/** Options whose data means something; of all others only the length does. */
export function takesData(option: number): boolean {
  return (
    option === Option.EXPORT_NAME ||
    option === Option.INFO ||
    option === Option.GO ||
    option === Option.LIST_META_CONTEXT ||
    option === Option.SET_META_CONTEXT
  );
}

function violation(reason: string): ClientMessage {
  return { kind: 'violation', reason };
}
