/** A line of text as bytes, and a cursor in it: numbers come from digits, no string is made. */

/** What most text formats have between fields. */
export const COMMA = 0x2c;
const ZERO = 0x30;
const DOT = 0x2e;
const SPACE = 0x20;
const TAB = 0x09;

/** More digits than that may be more than a double holds exactly. */
const EXACT_DIGITS = 15;
const POWERS = [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9] as const;
const TWO_32 = 2 ** 32;

/** The line that is being parsed; one object is used for all lines of a file. */
export class Line {
  bytes: Buffer = Buffer.alloc(0);
  /** The cursor. */
  at = 0;
  /** Behind the last byte, without the line's end. */
  end = 0;
  /** All but the last nine digits of what `long` read. */
  high = 0;
  /** The last nine digits of what `long` read. */
  low = 0;

  /** A whole number from 0, behind which the cursor stands then; -1 if there is none, or above 2^53. */
  unsigned(): number {
    const { bytes, end, at: start } = this;
    let at = start;
    let value = 0;
    while (at < end) {
      const digit = bytes[at]! - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      at++;
    }
    this.at = at;
    if (at === start) return -1;
    return at - start > EXACT_DIGITS && value > Number.MAX_SAFE_INTEGER ? -1 : value;
  }

  /** A number with or without a fraction, times 10^`places` and cut to a whole one; -1 if none. */
  fixed(places: number): number {
    let value = this.unsigned();
    if (value < 0) return -1;
    const { bytes, end } = this;
    if (this.at >= end || bytes[this.at] !== DOT) return value * POWERS[places]!;
    let at = this.at + 1;
    let left = places;
    for (; at < end; at++) {
      const digit = bytes[at]! - ZERO;
      if (digit < 0 || digit > 9) break;
      if (left === 0) continue;
      value = value * 10 + digit;
      left--;
    }
    this.at = at;
    return value * POWERS[left]!;
  }

  /** A number with or without a fraction, as near as a double comes to it; -1 if there is none. */
  real(): number {
    const whole = this.unsigned();
    if (whole < 0 || this.at >= this.end || this.bytes[this.at] !== DOT) return whole;
    this.at++;
    const start = this.at;
    const fraction = this.unsigned();
    const digits = this.at - start;
    return fraction < 0 ? whole : whole + fraction / 10 ** digits;
  }

  /** A whole number of any length into `high` and `low`; false if there is none. */
  long(): boolean {
    const { bytes, end, at: start } = this;
    let at = start;
    while (at < end && bytes[at]! >= ZERO && bytes[at]! <= ZERO + 9) at++;
    const middle = Math.max(start, at - 9);
    let high = 0;
    for (let digit = start; digit < middle; digit++) high = high * 10 + bytes[digit]! - ZERO;
    let low = 0;
    for (let digit = middle; digit < at; digit++) low = low * 10 + bytes[digit]! - ZERO;
    this.at = at;
    this.high = high;
    this.low = low;
    return at > start && high <= Number.MAX_SAFE_INTEGER;
  }

  /** A whole number as the name of an object: exact below 2^53, else folded to 53 bits; -1 if none. */
  key(): number {
    const start = this.at;
    const value = this.unsigned();
    if (value >= 0 || this.at === start) return value;
    let one = 0x811c9dc5 | 0;
    let other = 0x9e3779b9 | 0;
    for (let at = start; at < this.at; at++) {
      one = Math.imul(one ^ this.bytes[at]!, 0x01000193);
      other = Math.imul(other ^ this.bytes[at]!, 0x85ebca6b);
    }
    return ((one >>> 11) % 0x200000) * TWO_32 + ((other ^ (one << 7)) >>> 0);
  }

  /** Goes past `byte` if it stands at the cursor, and answers whether it did. */
  skip(byte: number): boolean {
    if (this.at >= this.end || this.bytes[this.at] !== byte) return false;
    this.at++;
    return true;
  }

  /** Goes behind the next `byte`; false, with the cursor at the end, if there is none. */
  skipPast(byte: number): boolean {
    const { bytes, end } = this;
    let at = this.at;
    while (at < end && bytes[at] !== byte) at++;
    this.at = Math.min(at + 1, end);
    return at < end;
  }

  /** Goes to the first `byte`, or to the end of the line. */
  skipTo(byte: number): void {
    const { bytes, end } = this;
    while (this.at < end && bytes[this.at] !== byte) this.at++;
  }

  /** Goes past spaces and tabs; answers whether there were any. */
  spaces(): boolean {
    const { bytes, end, at: start } = this;
    while (this.at < end && (bytes[this.at] === SPACE || bytes[this.at] === TAB)) this.at++;
    return this.at > start;
  }

  /** Goes to the next space or tab, or to the end; answers whether it passed anything. */
  word(): boolean {
    const { bytes, end, at: start } = this;
    while (this.at < end && bytes[this.at] !== SPACE && bytes[this.at] !== TAB) this.at++;
    return this.at > start;
  }

  /** The byte at the cursor in lower case, without moving; 0 at the end. */
  letter(): number {
    if (this.at >= this.end) return 0;
    const byte = this.bytes[this.at]!;
    return byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
  }

  /** Whether the field ends at the cursor: white space, a comma, or the end of the line. */
  isFieldEnd(): boolean {
    const byte = this.at < this.end ? this.bytes[this.at] : COMMA;
    return byte === COMMA || byte === SPACE || byte === TAB;
  }

  /** Whether nothing but white space is left. */
  isAtEnd(): boolean {
    this.spaces();
    return this.at >= this.end;
  }

  /** The bytes from `from` up to the cursor, as text: for what happens rarely. */
  textFrom(from: number): string {
    return this.bytes.toString('latin1', from, this.at);
  }
}
