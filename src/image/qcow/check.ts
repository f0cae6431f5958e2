/**
 * Checking and mending an image of qcow's first version, for which no other tool has a check. It
 * shares no code with how images are read and written, so that one finds the faults of the other.
 */

import { TmemError } from '../../lib/errors.ts';
import { roundUp } from '../../lib/round-up.ts';
import { readUInt64BE } from '../../lib/uint64.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import { clearEntries, forEachPiece } from '../appended/entries.ts';
import { ENTRY_BYTES } from '../appended/layout.ts';
import { Findings } from '../check/findings.ts';
import { PIECES_PER_WORD, UsedPieces } from '../check/used-pieces.ts';
import type { CheckOptions, CheckReport } from '../format.ts';
import { QCOW_HEADER_BYTES, type QcowHeader, readQcowHeader, SECTOR_BYTES } from './header.ts';

/**
 * With `all`, entries that lead nowhere become holes, and with either repair what is in no table at
 * the end of the file is cut off, unless a table is lost that may have named it. Two references to
 * one cluster cannot be mended; leaks in the middle stay until the image is converted. What is
 * compressed is not decompressed.
 */
export async function checkQcow(
  storage: ResizableStorage,
  options: Pick<CheckOptions, 'repair' | 'onProgress' | 'signal'>,
): Promise<CheckReport> {
  const header = await readQcowHeader(storage);
  const { repair } = options;
  if (repair !== undefined && header.isXen) {
    const message = `cannot repair "${storage.name}": images of blktap are only read`;
    throw new TmemError('unsupported', `${message}; convert it`);
  }
  const check = new QcowCheck(storage, header, options);
  await check.run();
  const end = await check.finish();
  const totalUnits = Math.ceil(header.virtualSizeBytes / 2 ** header.clusterBits);
  return check.findings.report('qcow', totalUnits, end);
}

class QcowCheck {
  readonly findings = new Findings();
  readonly #storage: ResizableStorage;
  readonly #header: QcowHeader;
  readonly #options: Pick<CheckOptions, 'repair' | 'onProgress' | 'signal'>;
  readonly #repairs: boolean;
  readonly #clusterBytes: number;
  readonly #tableBytes: number;
  readonly #used: UsedPieces;
  /** A first-level entry leads nowhere: what is in no table may be what that stood for. */
  #hasLostTable = false;
  /** Sectors with compressed clusters, several of which may share one. */
  readonly #packed: UsedPieces;

  constructor(
    storage: ResizableStorage,
    header: QcowHeader,
    options: Pick<CheckOptions, 'repair' | 'onProgress' | 'signal'>,
  ) {
    this.#storage = storage;
    this.#header = header;
    this.#options = options;
    this.#repairs = options.repair === 'all';
    this.#clusterBytes = 2 ** header.clusterBits;
    this.#tableBytes = 2 ** header.l2Bits * ENTRY_BYTES;
    const sectors = Math.ceil(storage.sizeBytes / SECTOR_BYTES);
    this.#used = new UsedPieces(storage, SECTOR_BYTES, sectors);
    this.#packed = new UsedPieces(storage, SECTOR_BYTES, sectors);
    const nameBytes = Buffer.byteLength(header.backingName ?? '');
    this.#used.mark(0, QCOW_HEADER_BYTES + nameBytes);
    this.#used.mark(header.l1Offset, header.l1Entries * ENTRY_BYTES);
  }

  async run(): Promise<void> {
    const { l1Offset, l1Entries } = this.#header;
    const { onProgress, signal } = this.#options;
    await this.#visitTable('first', l1Offset, l1Entries, async (piece, index) => {
      if (this.#header.hasLittleEndianL1) piece.swap64();
      const broken: number[] = [];
      for (let at = 0; at < piece.length; at += ENTRY_BYTES) {
        const offset = readUInt64BE(piece, at);
        if (offset === 0) continue;
        signal?.throwIfAborted();
        onProgress?.(index + at / ENTRY_BYTES, l1Entries);
        if (await this.#visitL1Entry(index + at / ENTRY_BYTES, offset)) broken.push(at);
      }
      await this.#clear(broken, piece, l1Offset + index * ENTRY_BYTES);
    });
    onProgress?.(l1Entries, l1Entries);
    if (this.#repairs) await this.#storage.sync();
  }

  /** True for an entry that leads nowhere. */
  async #visitL1Entry(index: number, offset: number): Promise<boolean> {
    if (!this.#canBe(offset, this.#tableBytes)) {
      this.#hasLostTable = true;
      const message = `first-level entry ${index} puts a table at ${offset}, where none can be`;
      this.findings.corruption(message, this.#repairs);
      return true;
    }
    if (!this.#used.mark(offset, this.#tableBytes)) {
      const message = `the table at ${offset}, of first-level entry ${index}, is in use otherwise`;
      this.findings.corruption(message, false);
      return false;
    }
    const entries = 2 ** this.#header.l2Bits;
    await this.#visitTable('second', offset, entries, async (piece, first) => {
      const broken: number[] = [];
      for (let at = 0; at < piece.length; at += ENTRY_BYTES) {
        const guestOffset = (index * entries + first + at / ENTRY_BYTES) * this.#clusterBytes;
        if (this.#visitL2Entry(piece, at, guestOffset)) broken.push(at);
      }
      await this.#clear(broken, piece, offset + first * ENTRY_BYTES);
    });
    return false;
  }

  /** True for an entry that leads nowhere. */
  #visitL2Entry(piece: Buffer, at: number, guestOffset: number): boolean {
    const high = piece.readUInt32BE(at);
    if (high >= 2 ** 31) return this.#visitCompressed(piece, at, guestOffset);
    const offset = readUInt64BE(piece, at);
    if (offset === 0) return false;
    if (!this.#canBe(offset, this.#clusterBytes)) {
      const message = `guest offset ${guestOffset} is put at ${offset}, where no data can be`;
      this.findings.corruption(message, this.#repairs);
      return true;
    }
    this.findings.unit(offset, this.#clusterBytes);
    if (this.#used.mark(offset, this.#clusterBytes)) return false;
    const message = `the cluster at ${offset}, of guest offset ${guestOffset}, is in use otherwise`;
    this.findings.corruption(message, false);
    return false;
  }

  #visitCompressed(piece: Buffer, at: number, guestOffset: number): boolean {
    const { clusterBits } = this.#header;
    const entry = piece.readBigUInt64BE(at) & ~(1n << 63n);
    const offset = Number(entry % 2n ** BigInt(63 - clusterBits));
    const length = Number(entry >> BigInt(63 - clusterBits));
    const isInside = offset + length <= this.#storage.sizeBytes;
    if (length === 0 || !isInside || this.#isInHead(offset, length)) {
      const message = `guest offset ${guestOffset} is compressed at ${offset}, where nothing can be`;
      this.findings.corruption(message, this.#repairs);
      return true;
    }
    this.findings.unit(offset, length);
    this.findings.compressedUnits++;
    this.#packed.mark(offset, length);
    return false;
  }

  /** What is compressed and what is not must not overlap; answers where the image ends. */
  async finish(): Promise<number> {
    const sectors = this.#used.count;
    const { l1Offset, l1Entries } = this.#header;
    const l1Bytes = l1Entries * ENTRY_BYTES;
    const headSectors = Math.ceil((l1Offset + l1Bytes) / SECTOR_BYTES);
    // qemu-img writes the first level in whole sectors, of which the last may reach into one more.
    const paddedSectors = Math.ceil((l1Offset + roundUp(l1Bytes, SECTOR_BYTES)) / SECTOR_BYTES);
    const isUsed = (at: number) => at < paddedSectors || this.#used.has(at) || this.#packed.has(at);
    const ends = [paddedSectors, this.#used.endOfUsed, this.#packed.endOfUsed];
    const end = Math.min(sectors, Math.max(...ends));
    let overlaps = 0;
    let innerClusters = 0;
    let usedEnd = 0;
    for (let at = 0; at < end; ) {
      // A file of holes may have billions of sectors.
      if (at >= paddedSectors && this.#used.hasEmptyWord(at) && this.#packed.hasEmptyWord(at)) {
        at += PIECES_PER_WORD - (at % PIECES_PER_WORD);
        continue;
      }
      if (isUsed(at)) {
        innerClusters += this.#wholeClusters(at - usedEnd);
        usedEnd = at + 1;
        if (at >= headSectors && this.#used.has(at) && this.#packed.has(at)) overlaps++;
      }
      at++;
    }
    if (overlaps > 0) {
      this.findings.corruption(`${overlaps} sectors are in use plain and compressed`, false);
    }
    return this.#countLeaks(innerClusters, end, this.#wholeClusters(sectors - end));
  }

  /** Less than a cluster between two things is what their alignment leaves, and no leak. */
  #wholeClusters(sectors: number): number {
    return Math.floor((sectors * SECTOR_BYTES) / this.#clusterBytes);
  }

  async #countLeaks(innerClusters: number, end: number, tail: number): Promise<number> {
    const { findings } = this;
    const isSound = findings.corruptions === 0 && findings.errors === 0;
    const mayCut = this.#options.repair !== undefined && isSound && !this.#hasLostTable;
    if (innerClusters > 0) {
      const message = `${innerClusters} clusters inside the file are in no table`;
      findings.leak(message, innerClusters, false);
    }
    if (tail > 0) {
      const message = `${tail} clusters from ${end * SECTOR_BYTES} on are in no table`;
      findings.leak(message, tail, mayCut);
    }
    if (!mayCut || tail === 0) return this.#storage.sizeBytes;
    await this.#storage.resize(end * SECTOR_BYTES);
    return end * SECTOR_BYTES;
  }

  #canBe(offset: number, length: number): boolean {
    if (!Number.isSafeInteger(offset + length) || offset % SECTOR_BYTES !== 0) return false;
    return offset + length <= this.#storage.sizeBytes && !this.#isInHead(offset, length);
  }

  #isInHead(offset: number, length: number): boolean {
    const { l1Offset, l1Entries } = this.#header;
    const isInL1 = offset < l1Offset + l1Entries * ENTRY_BYTES && offset + length > l1Offset;
    return isInL1 || offset < QCOW_HEADER_BYTES;
  }

  async #visitTable(
    level: string,
    offset: number,
    count: number,
    visit: (piece: Buffer, index: number) => Promise<void>,
  ): Promise<void> {
    try {
      await forEachPiece(this.#storage, offset, count, async (piece, index) => {
        this.#options.signal?.throwIfAborted();
        await visit(piece, index);
      });
    } catch (cause) {
      if (!(cause instanceof TmemError) || cause.kind !== 'io') throw cause;
      this.findings.error(`the ${level}-level table at ${offset} cannot be read: ${cause.message}`);
    }
  }

  async #clear(positions: readonly number[], piece: Buffer, offset: number): Promise<void> {
    if (!this.#repairs || positions.length === 0) return;
    await clearEntries(this.#storage, positions, piece, offset);
  }
}
