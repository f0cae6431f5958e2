/** The beginning of a trace file, by which its format is told. */

/** How much is looked at, bytes. */
export const HEAD_BYTES = 64 * 1024;
const LINES_MAX = 200;
/** Suffixes that say how a file is stored, not what is in it. */
const STORAGE_SUFFIX = /\.(gz|gzip|zst|zstd|z)$/i;

/** What some programs put before a text: the byte order mark in UTF-8. */
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf] as const;

/** How long the byte order mark is that a text from `at` up to `end` begins with; 0: it has none. */
export function byteOrderMarkBytes(bytes: Buffer, at: number, end: number): number {
  const length = BYTE_ORDER_MARK.length;
  const isThere = at + length <= end && BYTE_ORDER_MARK.every((byte, i) => bytes[at + i] === byte);
  return isThere ? length : 0;
}

/** What a file begins with, and what it is called. */
export interface FileHead {
  /** As errors name it. */
  readonly path: string;
  /** The file's name without folders and suffixes of compression, in lower case. */
  readonly name: string;
  readonly bytes: Buffer;
  /** Whether `bytes` is the whole file. */
  readonly isWhole: boolean;
  /** Whether it is text: no bytes that text has not. */
  readonly isText: boolean;
  /** The first whole lines, if it is a text, without their ends and without empty ones. */
  readonly lines: readonly string[];
}

/** The end of a name that promises a compressed file, as `.gz`; empty where it promises none. */
export function storageSuffix(path: string): string {
  return STORAGE_SUFFIX.exec(path)?.[0] ?? '';
}

/** The file's name without folders and suffixes of compression. */
export function traceName(path: string): string {
  const base = path.slice(path.lastIndexOf('/') + 1);
  return base.replace(STORAGE_SUFFIX, '') || base;
}

function isTextByte(byte: number): boolean {
  return byte >= 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** What there is to know of the file at `path`, which begins with `bytes`. */
export function fileHeadOf(path: string, bytes: Buffer, isWhole: boolean): FileHead {
  const isText = bytes.every(isTextByte);
  const start = byteOrderMarkBytes(bytes, 0, bytes.length);
  const lines = bytes.toString('latin1', start).split('\n');
  // The last one may go on, unless nothing does.
  if (!isWhole) lines.pop();
  return {
    ...{ path, bytes, isWhole, isText },
    name: traceName(path).toLowerCase(),
    lines: lines
      .map((line) => line.trimEnd())
      .filter((line) => line !== '')
      .slice(0, LINES_MAX),
  };
}
