/** The bytes of a trace file, decompressed where they are compressed, whatever the file is called. */

import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import {
  kindOfSystemError,
  messageOf,
  readAdvice,
  systemErrorCode,
  TmemError,
} from '../lib/errors.ts';
import { ZstdStream } from './zstd-stream.ts';

/** Bytes that are asked for one after another. */
export interface ByteSource {
  /** Fills the start of `target` and answers how many bytes that were; 0 only at the end. */
  read(target: Uint8Array): Promise<number>;
  close(): Promise<void>;
}

/** What a file is compressed with. */
export type Compression = 'none' | 'gzip' | 'zstd';

/** How much of a compressed file is read at once, bytes. */
const COMPRESSED_BYTES = 256 * 1024;

/** The bytes of the file itself, the first `bytesMax` of them. */
class FileSource implements ByteSource {
  doneBytes = 0;
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #bytesMax: number;

  constructor(handle: FileHandle, path: string, bytesMax: number) {
    this.#handle = handle;
    this.#path = path;
    this.#bytesMax = bytesMax;
  }

  async read(target: Uint8Array): Promise<number> {
    try {
      const length = Math.min(target.length, this.#bytesMax - this.doneBytes);
      const { bytesRead } = await this.#handle.read(target, 0, length, null);
      this.doneBytes += bytesRead;
      return bytesRead;
    } catch (cause) {
      throw readError(this.#path, cause);
    }
  }

  async close(): Promise<void> {
    await this.#handle.close().catch(() => undefined); // it was only read: nothing is lost
  }
}

/** A source whose first bytes can be looked at without their being gone. */
export class PeekedSource implements ByteSource {
  readonly #source: ByteSource;
  #head = Buffer.alloc(0);

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** The first `count` bytes, fewer only where the source has no more. They stay to be read. */
  async peek(count: number): Promise<Buffer> {
    while (this.#head.length < count) {
      const more = Buffer.allocUnsafe(count - this.#head.length);
      const length = await this.#source.read(more);
      if (length === 0) break;
      this.#head = Buffer.concat([this.#head, more.subarray(0, length)]);
    }
    return this.#head.subarray(0, count);
  }

  async read(target: Uint8Array): Promise<number> {
    if (this.#head.length === 0) return this.#source.read(target);
    const length = Math.min(target.length, this.#head.length);
    target.set(this.#head.subarray(0, length));
    this.#head = this.#head.subarray(length);
    return length;
  }

  close(): Promise<void> {
    return this.#source.close();
  }
}

/** Blocks that a decoder made, given out in pieces. */
abstract class BlockSource implements ByteSource {
  #block: Uint8Array = new Uint8Array(0);

  /** The next block, not empty; undefined at the end. */
  protected abstract next(): Promise<Uint8Array | undefined>;
  abstract close(): Promise<void>;

  async read(target: Uint8Array): Promise<number> {
    let filled = 0;
    // Whole targets, since every read costs its caller a turn.
    while (filled < target.length) {
      if (this.#block.length === 0) {
        const block = await this.next();
        if (block === undefined) break;
        this.#block = block;
      }
      const length = Math.min(target.length - filled, this.#block.length);
      target.set(this.#block.subarray(0, length), filled);
      this.#block = this.#block.subarray(length);
      filled += length;
    }
    return filled;
  }
}

async function* compressedPieces(source: ByteSource): AsyncGenerator<Buffer> {
  for (;;) {
    const piece = Buffer.allocUnsafe(COMPRESSED_BYTES);
    const length = await source.read(piece);
    if (length === 0) return;
    yield piece.subarray(0, length);
  }
}

class GunzipSource extends BlockSource {
  readonly #source: ByteSource;
  readonly #path: string;
  readonly #blocks: AsyncIterator<Uint8Array>;
  readonly #pumped: Promise<unknown>;

  constructor(source: ByteSource, path: string) {
    super();
    this.#source = source;
    this.#path = path;
    const gunzip = createGunzip({ chunkSize: COMPRESSED_BYTES });
    this.#blocks = gunzip[Symbol.asyncIterator]();
    // Whoever reads the blocks sees the same failure.
    this.#pumped = pipeline(Readable.from(compressedPieces(source)), gunzip).catch(() => undefined);
  }

  protected async next(): Promise<Uint8Array | undefined> {
    try {
      const { done, value } = await this.#blocks.next();
      return done === true ? undefined : value;
    } catch (cause) {
      throw gunzipError(this.#path, cause);
    }
  }

  async close(): Promise<void> {
    await this.#blocks.return?.();
    await this.#pumped;
    await this.#source.close();
  }
}

class ZstdSource extends BlockSource {
  readonly #source: ByteSource;
  readonly #decoder: ZstdStream;
  readonly #piece = Buffer.allocUnsafe(COMPRESSED_BYTES);
  #left: Uint8Array = this.#piece.subarray(0, 0);
  #blocks: Uint8Array[] = [];
  #isAtEnd = false;

  constructor(source: ByteSource, path: string) {
    super();
    this.#source = source;
    this.#decoder = new ZstdStream(path);
  }

  protected async next(): Promise<Uint8Array | undefined> {
    while (this.#blocks.length === 0 && !this.#isAtEnd) {
      if (this.#left.length === 0) {
        const length = await this.#source.read(this.#piece);
        this.#left = this.#piece.subarray(0, length);
        this.#isAtEnd = length === 0;
      }
      if (this.#isAtEnd) this.#decoder.end();
      else this.#left = this.#left.subarray(this.#decoder.write(this.#left));
      this.#blocks = this.#decoder.take();
    }
    return this.#blocks.shift();
  }

  close(): Promise<void> {
    return this.#source.close();
  }
}

/** What a user reads of a trace that cannot be read; what says that already stays as it is. */
export function readError(path: string, cause: unknown): TmemError {
  if (cause instanceof TmemError) return cause;
  const sentence = `cannot read the trace ${path}: ${readAdvice(cause)}`;
  return new TmemError(kindOfSystemError(cause), sentence, { cause });
}

function gunzipError(path: string, cause: unknown): TmemError {
  if (cause instanceof TmemError) return cause;
  const sentence =
    systemErrorCode(cause) === 'Z_BUF_ERROR'
      ? `${path} ends in the middle of its gzip data; get the whole file`
      : `${path} is damaged: ${messageOf(cause)}; test it with gzip -t`;
  return new TmemError('invalid', sentence, { cause });
}

/** First bytes of what is no trace but holds one, and what to do. */
const WRAPPINGS: readonly { readonly magic: readonly number[]; readonly advice: string }[] = [
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a], advice: 'xz data; decompress it first (xz -d)' },
  { magic: [0x42, 0x5a, 0x68], advice: 'bzip2 data; decompress it first (bzip2 -d)' },
  { magic: [0x04, 0x22, 0x4d, 0x18], advice: 'lz4 data; decompress it first (lz4 -d)' },
  { magic: [0x50, 0x4b, 0x03, 0x04], advice: 'a zip archive; extract it first (unzip)' },
];

function startsWith(bytes: Buffer, magic: readonly number[]): boolean {
  return magic.every((byte, at) => bytes[at] === byte);
}

function compressionOf(head: Buffer): Compression {
  if (startsWith(head, [0x1f, 0x8b])) return 'gzip';
  // A frame, or a skippable frame before it.
  const isSkippable = startsWith(head.subarray(1), [0x2a, 0x4d, 0x18]);
  if (startsWith(head, [0x28, 0xb5, 0x2f, 0xfd])) return 'zstd';
  return isSkippable && ((head[0] ?? 0) & 0xf0) === 0x50 ? 'zstd' : 'none';
}

/** Refuses what is no trace but a container of one: its entries' headers are no requests. */
function refuseWrapping(path: string, head: Buffer): void {
  const wrapping = WRAPPINGS.find(({ magic }) => startsWith(head, magic));
  if (wrapping !== undefined) throw new TmemError('invalid', `${path} is ${wrapping.advice}`);
  if (head.length > 262 && head.toString('latin1', 257, 262) === 'ustar') {
    throw new TmemError('invalid', `${path} is a tar archive; extract it first (tar -xf)`);
  }
}

/** An open trace file. */
export interface OpenedFile {
  readonly path: string;
  readonly source: PeekedSource;
  readonly compression: Compression;
  /** False for a pipe: it is gone once it has been read. */
  readonly isRegular: boolean;
  /** Bytes of the file as it is, 0 for a pipe. */
  readonly sizeBytes: number;
  /** How many of them have been read. */
  doneBytes(): number;
}

/**
 * Opens a trace for reading from its start, up to `bytesMax`, where it may have more by now. Throws a
 * `TmemError` for what cannot be opened, is a directory, or is a kind of archive or compression that
 * is not supported.
 */
export async function openByteSource(
  path: string,
  bytesMax: number = Number.POSITIVE_INFINITY,
): Promise<OpenedFile> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY);
  } catch (cause) {
    throw readError(path, cause);
  }
  try {
    const stat = await handle.stat();
    if (stat.isDirectory()) {
      throw new TmemError('invalid', `${path} is a folder; name the trace files in it`);
    }
    const file = new FileSource(handle, path, bytesMax);
    const raw = new PeekedSource(file);
    const head = await raw.peek(8);
    const compression = compressionOf(head);
    const source = new PeekedSource(decoded(raw, compression, path));
    refuseWrapping(path, await source.peek(512));
    return {
      ...{ path, source, compression },
      isRegular: stat.isFile(),
      sizeBytes: stat.isFile() ? stat.size : 0,
      doneBytes: () => file.doneBytes,
    };
  } catch (error) {
    await handle.close().catch(() => undefined);
    throw readError(path, error);
  }
}

function decoded(raw: ByteSource, compression: Compression, path: string): ByteSource {
  if (compression === 'gzip') return new GunzipSource(raw, path);
  return compression === 'zstd' ? new ZstdSource(raw, path) : raw;
}
