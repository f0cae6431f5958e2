/**
 * What an image is kept on: bytes at offsets, nothing more. A storage knows no format, no page and
 * no cache.
 */

/**
 * What a storage does natively. The calls themselves always succeed in what they promise; these say
 * which are worth making. A file system tells what it lacks when it is first asked for it, so a
 * capability may become false while the storage is open, never true.
 */
export interface StorageCapabilities {
  /** `discard` gives the bytes back to the file system; without it, `discard` does nothing. */
  readonly discard: boolean;
  /** `writeZeroes` is faster than writing that many bytes. */
  readonly fastZeroes: boolean;
  /** `extent` tells holes from data; without it everything is data. */
  readonly extents: boolean;
}

/** A run of bytes of one allocation state. */
export interface StorageExtent {
  /** Bytes from the offset that was asked for; at least 1. */
  readonly length: number;
  /** Nothing is stored here, and the bytes read as zeros. */
  readonly isHole: boolean;
}

/**
 * A random-access medium. Offsets and lengths are bytes, safe integers, inside `sizeBytes`; the
 * caller checks them. Every failure rejects with a TmemError that names the storage, the offset
 * and the length. A short read or write is a failure: no call half succeeds silently. Buffers
 * belong to the caller and are not referenced after the promise settles.
 */
export interface Storage {
  /** How messages and metrics call it: for a file, its path. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  /**
   * Offset, length and memory address that are multiples of this take the unbuffered path; all
   * others are served too, through the page cache. 1 when there is no such path.
   */
  readonly alignmentBytes: number;
  readonly supports: StorageCapabilities;
  read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void>;
  write(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void>;
  /** Everything written before the call is on stable storage when this resolves. */
  sync(): Promise<void>;
  /** A hint: the bytes are no longer needed. Their content is undefined afterwards. */
  discard(offset: number, length: number): Promise<void>;
  /**
   * The bytes read as zeros afterwards; they stay allocated unless `mayDiscard`. With `mustBeFast`
   * it fails as `unsupported` instead of writing that many bytes. Default false.
   */
  writeZeroes(
    offset: number,
    length: number,
    mayDiscard: boolean,
    mustBeFast?: boolean,
  ): Promise<void>;
  /** The allocation state at `offset`, for at most `length` bytes. */
  extent(offset: number, length: number): Promise<StorageExtent>;
  /** Leaves the medium as it is to be when it is closed; nothing but `close` is asked for after it. */
  finish?(): Promise<void>;
  close(): Promise<void>;
}

/** A storage that a format keeps its image in: it grows with what is written behind its end. */
export interface ResizableStorage extends Storage {
  /** Where the file ends now; changes with `resize` and with writes behind the end. */
  readonly sizeBytes: number;
  /** Cuts it, or lengthens it by a hole. */
  resize(sizeBytes: number): Promise<void>;
}
