/**
 * The page codec: LZ4 blocks, by the native binding of npm `lz4` where it could be built, else by
 * `lz4-napi`, whose binaries come with the package. Neither checks the offsets it is given, so this
 * file does; and both are loaded here and nowhere else.
 *
 * Source: LZ4 block format, lz4_Block_format.md.
 */

import { createRequire } from 'node:module';
import { messageOf, systemErrorCode, TmemError } from '../lib/errors.ts';

/** Encodes and decodes one page. Both calls are synchronous and keep no reference to a buffer. */
export interface PageCodec {
  /** What the start-up line and the metrics call it. */
  readonly name: string;
  /**
   * Encodes all of `page` into `dst` from 0, in at most `limitBytes`. Answers the length of the
   * block, or 0 when it does not fit.
   */
  encode(page: Buffer, dst: Buffer, limitBytes: number): number;
  /**
   * Decodes the block at `src[start, end)` into `page` from 0. True only when the block is well
   * formed and decodes to exactly `page.length` bytes; else `page` holds garbage.
   */
  decode(src: Buffer, start: number, end: number, page: Buffer): boolean;
}

/** The native binding of npm `lz4`: writes and reads at offsets, allocates nothing. */
interface OffsetBinding {
  encodeBlock(src: Buffer, dst: Buffer, start: number, end: number): number;
  decodeBlock(src: Buffer, dst: Buffer, start: number, end: number): number;
}

/** `lz4-napi`: returns new buffers, and puts the page's length in 4 bytes before the block. */
interface AllocatingBinding {
  compressSync(data: Buffer): Buffer;
  uncompressSync(data: Buffer): Buffer;
}

const NAPI_HEADER_BYTES = 4;

function checkRange(start: number, end: number, length: number): void {
  if (!(start >= 0 && start < end && end <= length)) {
    throw new Error(`codec: range ${start}-${end} outside a buffer of ${length} bytes`);
  }
}

class OffsetCodec implements PageCodec {
  readonly name = 'lz4 (native)';
  readonly #binding: OffsetBinding;

  constructor(binding: OffsetBinding) {
    this.#binding = binding;
  }

  encode(page: Buffer, dst: Buffer, limitBytes: number): number {
    checkRange(0, limitBytes, dst.length);
    return this.#binding.encodeBlock(page, dst, 0, limitBytes);
  }

  decode(src: Buffer, start: number, end: number, page: Buffer): boolean {
    checkRange(start, end, src.length);
    return this.#binding.decodeBlock(src, page, start, end) === page.length;
  }
}

class AllocatingCodec implements PageCodec {
  readonly name: string;
  readonly #binding: AllocatingBinding;

  /** `remark` is what the name says of it. */
  constructor(binding: AllocatingBinding, remark: string) {
    this.#binding = binding;
    this.name = `lz4-napi (${remark})`;
  }

  encode(page: Buffer, dst: Buffer, limitBytes: number): number {
    checkRange(0, limitBytes, dst.length);
    const block = this.#binding.compressSync(page);
    if (block.length - NAPI_HEADER_BYTES > limitBytes) return 0;
    return block.copy(dst, 0, NAPI_HEADER_BYTES);
  }

  decode(src: Buffer, start: number, end: number, page: Buffer): boolean {
    checkRange(start, end, src.length);
    const framed = Buffer.allocUnsafe(NAPI_HEADER_BYTES + end - start);
    framed.writeUInt32LE(page.length, 0);
    src.copy(framed, NAPI_HEADER_BYTES, start, end);
    try {
      return this.#binding.uncompressSync(framed).copy(page) === page.length;
    } catch {
      return false; // a malformed block; the caller counts it
    }
  }
}

/** Which binding to use: the best there is, or one by name (for tests and comparisons). */
export const CODEC_CHOICES = ['auto', 'lz4', 'lz4-napi'] as const;
export type CodecChoice = (typeof CODEC_CHOICES)[number];

/** Loads a package by its name, or throws. */
type Loader = (name: string) => unknown;

/** Loads a codec. Throws a TmemError when the one asked for, or with `auto` any, is not installed. */
export function loadCodec(
  choice: CodecChoice = 'auto',
  load: Loader = createRequire(import.meta.url),
): PageCodec {
  let remark = 'prebuilt';
  if (choice !== 'lz4-napi') {
    try {
      return new OffsetCodec(load('lz4') as OffsetBinding);
    } catch (cause) {
      if (choice === 'lz4') throw notInstalled('lz4', cause);
      const why = isOfAnotherNode(cause)
        ? `is not for this Node: ${REBUILD}`
        : 'was not built here';
      remark = `prebuilt; slower: the native lz4 binding ${why}`;
    }
  }
  try {
    return new AllocatingCodec(load('lz4-napi') as AllocatingBinding, remark);
  } catch (cause) {
    throw notInstalled(choice === 'auto' ? 'lz4 or lz4-napi' : 'lz4-napi', cause);
  }
}

/** They are optional for npm, which leaves them out where it is told to or cannot install them. */
function notInstalled(names: string, cause: unknown): TmemError {
  const [why = ''] = messageOf(cause).split('\n');
  const sentence = `pages cannot be compressed without the package ${names} (${why})`;
  const advice = isOfAnotherNode(cause) ? REBUILD : 'install it, without --omit=optional';
  return new TmemError('unsupported', `${sentence}; ${advice}`, { cause });
}

/**
 * Whether a binding is there, and was built for another version of Node or for another system: Node
 * was replaced since, or the install script did not run.
 */
function isOfAnotherNode(cause: unknown): boolean {
  return systemErrorCode(cause) === 'ERR_DLOPEN_FAILED';
}

const REBUILD = 'run npm rebuild lz4';
