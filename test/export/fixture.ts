/** An export over a small stack and an image in memory, and readers and writers of it. */

import { Export } from '../../src/export/export.ts';
import { rawImage } from '../../src/image/raw.ts';
import { loadCodec } from '../../src/layers/codec.ts';
import { BufferPool } from '../../src/lib/buffer-pool.ts';
import { createStack } from '../../src/service/stack.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { Cleancache } from '../../src/tmem/cleancache.ts';
import type { Lender } from '../../src/tmem/lender.ts';
import { FaultyStorage } from '../storage/faulty-storage.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;

export interface ExportOptions {
  readonly sizeBytes?: number;
  readonly pageBytes?: number;
  readonly isReadOnly?: boolean;
  readonly bufferBytes?: number;
  /** The share of pages kept as they are, which alone can be lent. */
  readonly hotFraction?: number;
  /** Of the stack; by default 64 MiB. */
  readonly memoryBytes?: number;
}

/** A lender that knows how many of its pages are lent. */
class CountingLender implements Lender {
  lentCount = 0;
  readonly #inner: Lender;

  constructor(inner: Lender) {
    this.#inner = inner;
  }

  lend(pool: number, object: number, index: number, isUse: boolean): number {
    const loan = this.#inner.lend(pool, object, index, isUse);
    if (loan >= 0) this.lentCount++;
    return loan;
  }

  countLent(count: number): void {
    this.#inner.countLent(count);
  }

  loanBuffer(loan: number): Buffer {
    return this.#inner.loanBuffer(loan);
  }

  loanOffset(loan: number): number {
    return this.#inner.loanOffset(loan);
  }

  returnLoan(loan: number): void {
    this.lentCount--;
    this.#inner.returnLoan(loan);
  }
}

/** What exports share: a stack, and buffers. */
export function makeMemory(options: ExportOptions = {}) {
  const { pageBytes = 4096, hotFraction = 0.5, bufferBytes = 8 * MIB } = options;
  const stack = createStack({
    memoryBytes: options.memoryBytes ?? 64 * MIB,
    hotFraction,
    pageBytesMax: pageBytes,
    policyName: 's3fifo-cw',
    codec: loadCodec(),
  });
  const lender = stack.lender === undefined ? undefined : new CountingLender(stack.lender);
  return { tmem: stack.tmem, lender, pageBytes, buffers: new BufferPool(bufferBytes, pageBytes) };
}

/** An export of `storage`, with a cache of its own. */
export function exportOn(
  storage: Storage,
  memory: ReturnType<typeof makeMemory>,
  isReadOnly = false,
) {
  const { tmem, lender, pageBytes, buffers } = memory;
  const cache = new Cleancache(tmem, pageBytes, lender);
  const image = rawImage(storage, 'disk');
  const target = new Export({
    name: 'disk',
    image,
    cache,
    buffers,
    mode: isReadOnly ? 'read-only' : 'writethrough',
  });
  return { ...memory, target, cache };
}

/** An export of an image in memory, whose bytes are `disk`. */
export function makeExport(options: ExportOptions = {}) {
  const disk = noise(options.sizeBytes ?? MIB);
  const storage = new FaultyStorage(new MemoryStorage(disk));
  return { disk, storage, ...exportOn(storage, makeMemory(options), options.isReadOnly) };
}

/** Bytes that do not repeat; every eighth run of 16 KiB is zeros. */
export function noise(bytes: number, seed = 1): Buffer {
  const buffer = Buffer.alloc(bytes);
  let x = seed * 2_654_435_761;
  for (let at = 0; at < bytes; at++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    if ((at >> 14) % 8 !== 7) buffer[at] = x;
  }
  return buffer;
}

type Parts = Pick<ReturnType<typeof exportOn>, 'target' | 'buffers'>;

/** Reads at most 256 KiB as the server does: what is cached, then what is missing. */
export async function read(parts: Parts, offset: number, length: number): Promise<Buffer> {
  const { target, buffers } = parts;
  const inPage = offset % target.pageBytes;
  const room = Math.ceil((inPage + length) / target.pageBytes) * target.pageBytes;
  const piece = await buffers.wait(room);
  try {
    const at = piece.dataOffset + inPage;
    target.reads.readCached(offset, length, piece.buffer, at);
    await target.reads.fetch(offset, target.reads.missing.slice(), piece);
    return Buffer.from(piece.buffer.subarray(at, at + length));
  } finally {
    buffers.release(piece);
  }
}

/** Writes at most 256 KiB. */
export async function write(parts: Parts, offset: number, data: Buffer): Promise<void> {
  const { target, buffers } = parts;
  const inPage = offset % target.pageBytes;
  const room = Math.ceil((inPage + data.length) / target.pageBytes) * target.pageBytes;
  const piece = await buffers.wait(room);
  try {
    data.copy(piece.buffer, piece.dataOffset + inPage);
    await target.write(offset, data.length, piece);
  } finally {
    buffers.release(piece);
  }
}

/** Lets everything happen that waits for nothing outside. */
export async function quiet(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}
