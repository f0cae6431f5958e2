/**
 * Persistent dirty bitmaps while their image is written: those that every writer is to keep up to date
 * are in memory, marked as in use on the storage from before the first write until they are stored.
 * After a crash the mark is still there, and nobody believes them.
 */

import { TmemError } from '../../../lib/errors.ts';
import { readUInt64BE, writeUInt64BE } from '../../../lib/uint64.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import { readPadded } from '../../tables/read-padded.ts';
import {
  BITMAP_FLAG,
  type Bitmap,
  type BitmapDirectory,
  bitmapDirectory,
  readBitmaps,
} from '../structures/bitmaps.ts';
import type { Qcow2Header } from '../structures/header.ts';

/** Bits of all bitmaps together; of an image that has more none is kept. */
const BYTES_MAX = 32 << 20;
/** Where the flags are in a directory entry. */
const FLAGS_AT = 12;
const SECTOR_MASK = 511;

/** One bitmap in memory. */
interface KeptBitmap {
  readonly bitmap: Bitmap;
  /** The lowest bit of the first byte is the first part of the disk. */
  readonly bits: Buffer;
  /** Where each cluster of bits is stored; 0 for none yet. */
  readonly clusters: Float64Array;
  /** Clusters of bits that changed since they were read. */
  readonly isChanged: Uint8Array;
}

/** How bitmaps get at new clusters and at the storage. */
export interface StoreOptions {
  /** A cluster of their own: where it is. */
  allocate(): Promise<number>;
  /** Everything written and allocated so far is durable when it resolves. */
  sync(): Promise<void>;
}

export class KeptBitmaps {
  readonly #storage: ResizableStorage;
  readonly #directory: BitmapDirectory;
  readonly #clusterBytes: number;
  readonly #kept: readonly KeptBitmap[];

  private constructor(
    storage: ResizableStorage,
    directory: BitmapDirectory,
    clusterBytes: number,
    kept: readonly KeptBitmap[],
  ) {
    this.#storage = storage;
    this.#directory = directory;
    this.#clusterBytes = clusterBytes;
    this.#kept = kept;
  }

  /**
   * Reads the bitmaps that are to be kept up to date. Undefined when there are none in the image, or
   * when they are damaged or too large: then the writer must disown them all.
   */
  static async open(
    storage: ResizableStorage,
    header: Qcow2Header,
  ): Promise<KeptBitmaps | undefined> {
    try {
      const directory = bitmapDirectory(header, storage.name);
      if (directory === undefined) return undefined;
      const all = await readBitmaps(storage, header, directory);
      const wanted = all.filter(({ isAuto, isInUse }) => isAuto && !isInUse);
      const bytes = wanted.reduce((sum, bitmap) => sum + bitmapBytes(header, bitmap), 0);
      if (bytes > BYTES_MAX) return undefined;
      const kept: KeptBitmap[] = [];
      for (const bitmap of wanted) {
        const one = await readBitmap(storage, header, bitmap);
        if (one === undefined) return undefined;
        kept.push(one);
      }
      return new KeptBitmaps(storage, directory, header.clusterBytes, kept);
    } catch (cause) {
      if (cause instanceof TmemError && cause.kind !== 'io') return undefined;
      throw cause;
    }
  }

  get directory(): BitmapDirectory {
    return this.#directory;
  }

  /** In memory. */
  get bytes(): number {
    return this.#kept.reduce(
      (sum, { bits, clusters }) => sum + bits.length + clusters.length * 9,
      0,
    );
  }

  /** Durably marks them as in use: from then on writes may follow. */
  async begin(): Promise<void> {
    if (this.#kept.length > 0) await this.#mark(true);
  }

  /** The range of the disk is being changed. */
  noteWrite(offset: number, length: number): void {
    if (length === 0) return;
    for (const { bitmap, bits, isChanged } of this.#kept) {
      const { granularityBytes } = bitmap;
      const last = Math.floor((offset + length - 1) / granularityBytes);
      for (let bit = Math.floor(offset / granularityBytes); bit <= last; bit++) {
        const at = Math.floor(bit / 8);
        const mask = 1 << (bit % 8);
        if ((bits[at]! & mask) !== 0) continue;
        bits[at]! |= mask;
        isChanged[Math.floor(at / this.#clusterBytes)] = 1;
      }
    }
  }

  /** Stores what changed, and takes the mark away when it is durable: no write may follow. */
  async store(options: StoreOptions): Promise<void> {
    if (this.#kept.length === 0) return;
    const entries: [at: number, cluster: number][] = [];
    for (const one of this.#kept) await this.#storeBits(one, entries, options);
    await options.sync();
    const bytes = Buffer.alloc(8);
    for (const [at, cluster] of entries) {
      writeUInt64BE(bytes, cluster, 0);
      await this.#storage.write(bytes, 0, 8, at);
    }
    if (entries.length > 0) await this.#storage.sync();
    await this.#mark(false);
  }

  async #storeBits(
    { bitmap, bits, clusters, isChanged }: KeptBitmap,
    entries: [at: number, cluster: number][],
    { allocate }: StoreOptions,
  ): Promise<void> {
    const cluster = Buffer.alloc(this.#clusterBytes);
    for (let index = 0; index < clusters.length; index++) {
      if (isChanged[index] === 0) continue;
      if (clusters[index] === 0) {
        clusters[index] = await allocate();
        entries.push([bitmap.tableOffset + index * 8, clusters[index]!]);
      }
      cluster.fill(0);
      bits.copy(cluster, 0, index * cluster.length, (index + 1) * cluster.length);
      await this.#storage.write(cluster, 0, cluster.length, clusters[index]!);
      isChanged[index] = 0;
    }
  }

  async #mark(isInUse: boolean): Promise<void> {
    const flags = Buffer.alloc(4);
    for (const { bitmap } of this.#kept) {
      const at = this.#directory.offset + bitmap.entryAt + FLAGS_AT;
      await this.#storage.read(flags, 0, 4, at);
      const others = flags.readUInt32BE() & ~BITMAP_FLAG.inUse;
      flags.writeUInt32BE((others | (isInUse ? BITMAP_FLAG.inUse : 0)) >>> 0);
      await this.#storage.write(flags, 0, 4, at);
    }
    await this.#storage.sync();
  }
}

function bitmapBytes({ sizeBytes }: Qcow2Header, { granularityBytes }: Bitmap): number {
  return Math.ceil(Math.ceil(sizeBytes / granularityBytes) / 8);
}

/** Undefined for a table that is not one of a disk of this size. */
async function readBitmap(
  storage: ResizableStorage,
  header: Qcow2Header,
  bitmap: Bitmap,
): Promise<KeptBitmap | undefined> {
  const { clusterBytes } = header;
  const bits = Buffer.alloc(bitmapBytes(header, bitmap));
  const entries = Math.ceil(bits.length / clusterBytes);
  if (entries !== bitmap.tableEntries) return undefined;
  const table = Buffer.alloc(entries * 8);
  await readPadded(storage, table, 0, table.length, bitmap.tableOffset);
  const clusters = new Float64Array(entries);
  for (let index = 0; index < entries; index++) {
    const low = table.readUInt32BE(index * 8 + 4) & SECTOR_MASK;
    const offset = readUInt64BE(table, index * 8) - low;
    const start = index * clusterBytes;
    const length = Math.min(clusterBytes, bits.length - start);
    const isInside = offset % clusterBytes === 0 && offset < storage.sizeBytes;
    if (low > 1 || (offset !== 0 && (low !== 0 || !isInside))) return undefined;
    clusters[index] = offset;
    if (offset !== 0) await readPadded(storage, bits, start, length, offset);
    else bits.fill(low === 1 ? 0xff : 0, start, start + length);
  }
  return { bitmap, bits, clusters, isChanged: new Uint8Array(entries) };
}
