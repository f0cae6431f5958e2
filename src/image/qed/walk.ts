/**
 * Walks all tables of a QED image and marks what they refer to. It shares no code with how images
 * are read and written, so that one finds the faults of the other; clusters are counted with exact
 * division, other than by qemu-img, whose count of leaks is one too high for every
 * `cluster size - 1` clusters.
 */

import { TmemError } from '../../lib/errors.ts';
import { readUInt64LE } from '../../lib/uint64.ts';
import type { ResizableStorage } from '../../storage/storage.ts';
import { clearEntries, forEachPiece } from '../appended/entries.ts';
import { ENTRY_BYTES } from '../appended/layout.ts';
import type { Findings } from '../check/findings.ts';
import { UsedPieces } from '../check/used-pieces.ts';

/** Guest clusters that hold no data: entries 0 and 1. */
const DATA_ENTRY_MIN = 2;

export interface QedWalkOptions {
  readonly storage: ResizableStorage;
  readonly clusterBytes: number;
  readonly tableBytes: number;
  readonly headerBytes: number;
  readonly l1Offset: number;
  /** Clusters before this are looked at, a multiple of the cluster size. */
  readonly limit: number;
  /** The same for clusters of data. */
  readonly dataLimit: number;
  /** What lies behind the limit is younger than the check, and left alone. */
  readonly isOnline: boolean;
  /** Entries that lead nowhere are made 0. */
  readonly repairs: boolean;
  /** But for those of the first level, which a crash does not leave. */
  readonly keepsTables?: boolean;
  readonly findings: Findings;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What an entry says. */
type Verdict = 'sound' | 'young' | 'broken';

export class QedWalk {
  readonly used: UsedPieces;
  /** A first-level entry leads nowhere: what is in no table may be what that stood for. */
  hasLostTable = false;
  readonly #options: QedWalkOptions;
  readonly #tableEntries: number;

  constructor(options: QedWalkOptions) {
    const { storage, clusterBytes, dataLimit, headerBytes, l1Offset, tableBytes } = options;
    this.#options = options;
    this.#tableEntries = tableBytes / ENTRY_BYTES;
    this.used = new UsedPieces(storage, clusterBytes, Math.floor(dataLimit / clusterBytes));
    this.used.mark(0, headerBytes);
    this.used.mark(l1Offset, tableBytes);
  }

  async run(): Promise<void> {
    const { storage, l1Offset, onProgress, signal } = this.#options;
    const total = this.#tableEntries;
    await this.#visitTable('first', l1Offset, async (piece, index) => {
      const broken: number[] = [];
      for (let at = 0; at < piece.length; at += ENTRY_BYTES) {
        if (isZero(piece, at)) continue;
        signal?.throwIfAborted();
        const entry = index + at / ENTRY_BYTES;
        onProgress?.(entry, total);
        if (await this.#visitL1Entry(entry, readUInt64LE(piece, at))) broken.push(at);
      }
      await this.#clear(broken, piece, l1Offset + index * ENTRY_BYTES);
    });
    onProgress?.(total, total);
    if (this.#options.repairs) await storage.sync();
  }

  /** True for an entry that leads nowhere and is to be cleared. */
  async #visitL1Entry(index: number, offset: number): Promise<boolean> {
    const { tableBytes, findings, repairs, keepsTables, limit } = this.#options;
    const verdict = this.#judge(offset, tableBytes, limit);
    if (verdict === 'young') return false;
    if (verdict === 'broken') {
      this.hasLostTable = true;
      const message = `first-level entry ${index} puts a table at ${offset}, where none can be`;
      const isRepaired = repairs && !keepsTables;
      findings.corruption(message, isRepaired);
      return isRepaired;
    }
    if (!this.used.mark(offset, tableBytes)) {
      const message = `the table at ${offset}, of first-level entry ${index}, is in use otherwise`;
      findings.corruption(message, false);
      return false;
    }
    await this.#visitTable('second', offset, async (piece, first) => {
      const broken = this.#visitL2Piece(piece, index * this.#tableEntries + first);
      await this.#clear(broken, piece, offset + first * ENTRY_BYTES);
    });
    return false;
  }

  /** The positions of entries that lead nowhere. */
  #visitL2Piece(piece: Buffer, firstUnit: number): number[] {
    const { clusterBytes, findings, repairs, dataLimit } = this.#options;
    const broken: number[] = [];
    for (let at = 0; at < piece.length; at += ENTRY_BYTES) {
      if (isZero(piece, at)) continue;
      const offset = readUInt64LE(piece, at);
      if (offset < DATA_ENTRY_MIN) continue;
      const verdict = this.#judge(offset, clusterBytes, dataLimit);
      if (verdict === 'young') continue;
      const guestOffset = (firstUnit + at / ENTRY_BYTES) * clusterBytes;
      if (verdict === 'broken') {
        broken.push(at);
        const message = `guest offset ${guestOffset} is put at ${offset}, where no data can be`;
        findings.corruption(message, repairs);
        continue;
      }
      findings.unit(offset, clusterBytes);
      if (this.used.mark(offset, clusterBytes)) continue;
      const message = `the cluster at ${offset}, of guest offset ${guestOffset}, is in use otherwise`;
      findings.corruption(message, false);
    }
    return broken;
  }

  #judge(offset: number, length: number, limit: number): Verdict {
    const { clusterBytes, headerBytes, isOnline } = this.#options;
    if (!Number.isSafeInteger(offset + length)) return 'broken';
    if (offset % clusterBytes !== 0 || offset < headerBytes) return 'broken';
    if (offset + length <= limit) return 'sound';
    return isOnline ? 'young' : 'broken';
  }

  async #visitTable(
    level: string,
    offset: number,
    visit: (piece: Buffer, index: number) => Promise<void>,
  ): Promise<void> {
    const { storage, findings, signal } = this.#options;
    try {
      await forEachPiece(storage, offset, this.#tableEntries, async (piece, index) => {
        signal?.throwIfAborted();
        await visit(piece, index);
      });
    } catch (cause) {
      if (!(cause instanceof TmemError) || cause.kind !== 'io') throw cause;
      findings.error(`the ${level}-level table at ${offset} cannot be read: ${cause.message}`);
    }
  }

  async #clear(positions: readonly number[], piece: Buffer, offset: number): Promise<void> {
    if (!this.#options.repairs || positions.length === 0) return;
    await clearEntries(this.#options.storage, positions, piece, offset);
  }
}

function isZero(piece: Buffer, at: number): boolean {
  return piece.readUInt32LE(at) === 0 && piece.readUInt32LE(at + 4) === 0;
}
