/**
 * Where writes go. Over what is there when it is the image's own; into the space of a cluster that
 * reads as zeros so far; or into new clusters, a run of them at once. Table entries change when the
 * data are written; until then the range is held, and nothing else is.
 */

import { roundUp } from '../../../lib/round-up.ts';
import type { WriteTarget } from '../../format.ts';
import {
  entryIndexOf,
  type Qcow2Disk,
  readEntryOrThrow,
  sliceOffsetOf,
  tableOffsetOf,
} from '../reads/disk.ts';
import type { ClusterAllocator, ClusterRun } from '../space/cluster-allocator.ts';
import type { FreedClusters } from '../space/freed-clusters.ts';
import type { MetadataMap } from '../space/metadata-map.ts';
import { type L2Entry, newEntry, writeEntry } from '../structures/l2-entry.ts';
import { SECTOR_BYTES } from '../structures/layout.ts';
import type { HeldRange, InFlight } from './in-flight.ts';
import type { L2Tables } from './l2-tables.ts';

export interface WriteTargetsOptions {
  readonly disk: Qcow2Disk;
  readonly tables: L2Tables;
  readonly allocator: ClusterAllocator;
  readonly freed: FreedClusters;
  readonly inFlight: InFlight;
  readonly metadata: MetadataMap;
  /** Something shows through holes. */
  readonly hasBacking: () => boolean;
  /** Hears that data were to be written over a table. */
  readonly onDamage: () => void;
}

/** What becomes of a cluster: see `#wayOf`. */
type Way =
  | 'over' // its bytes are there and its own
  | 'into' // its space is there and its own, some of its bytes are not
  | 'new' // new space, of which no more is filled than the subclusters that are written
  | 'copy'; // new space, for all that the cluster has

/** Some clusters of one slice, all to be written in one way. */
interface Piece {
  readonly way: Way;
  /** The range is whole subclusters, or whole clusters for a copy; guest offsets. */
  readonly start: number;
  readonly end: number;
  readonly firstCluster: number;
  readonly clusters: number;
  /** Where the first cluster is; of no meaning for new space. */
  readonly hostOffset: number;
  /** Whether the guest reads zeros from `start` to the write, and from the write to `end`. */
  readonly isHeadZero: boolean;
  readonly isTailZero: boolean;
}

export class WriteTargets {
  readonly #options: WriteTargetsOptions;
  readonly #entry: L2Entry = newEntry();

  constructor(options: WriteTargetsOptions) {
    this.#options = options;
  }

  /**
   * The target of a write, if all is there that it takes to tell and nobody must be waited for; else
   * undefined. Unless `mayTake`, only of a write in place.
   */
  atOnce(offset: number, length: number, mayTake: boolean): WriteTarget | undefined {
    const { disk, tables, inFlight, allocator } = this.#options;
    const table = tables.own(offset);
    if (table === 0) return undefined;
    const index = entryIndexOf(disk, offset);
    const sliceOffset = sliceOffsetOf(disk, table, index);
    const slice = disk.l2.get(sliceOffset);
    if (slice === undefined) return undefined;
    const piece = this.#pieceAt(slice, sliceOffset, offset, length);
    if (piece.way === 'over') return this.#over(piece, offset);
    const { firstCluster, clusters } = piece;
    if (!mayTake || inFlight.find(firstCluster, firstCluster + 1) !== undefined) return undefined;
    if (piece.way === 'into') {
      const range = inFlight.begin(firstCluster, firstCluster + clusters);
      return this.#into(piece, range, offset, length);
    }
    if (disk.geometry.hasDataFile) return undefined;
    const run = allocator.takeNow(clusters);
    return run === undefined ? undefined : this.#inRun(piece, run, offset, length);
  }

  /** The target of any write; waits for others in the same clusters, and for tables. */
  async allocate(offset: number, length: number): Promise<WriteTarget> {
    const { disk, tables, inFlight } = this.#options;
    const cluster = Math.floor(offset / disk.geometry.clusterBytes);
    for (;;) {
      const held = inFlight.find(cluster, cluster + 1);
      if (held !== undefined) {
        await held.released;
        continue;
      }
      const table = tables.own(offset);
      if (table === 0) {
        await tables.make(offset);
        continue;
      }
      const sliceOffset = sliceOffsetOf(disk, table, entryIndexOf(disk, offset));
      const slice = disk.l2.get(sliceOffset);
      if (slice === undefined) {
        await disk.l2.load(sliceOffset);
        continue;
      }
      // From here on nothing waits until the range is held.
      const piece = this.#pieceAt(slice, sliceOffset, offset, length);
      if (piece.way === 'over') return this.#over(piece, offset);
      const range = inFlight.begin(piece.firstCluster, piece.firstCluster + piece.clusters);
      if (piece.way === 'into') return this.#into(piece, range, offset, length);
      return this.#new(piece, range, offset, length);
    }
  }

  #over(piece: Piece, offset: number): WriteTarget {
    const { disk } = this.#options;
    const { clusterBytes } = disk.geometry;
    const storageOffset = piece.hostOffset + (offset - piece.firstCluster * clusterBytes);
    this.#checkPlace(storageOffset, piece.end - offset);
    const { dataStorage: storage, cipher } = disk;
    const length = Math.min(piece.end, disk.virtualSizeBytes) - offset;
    return { length, storage, storageOffset, cipher, headBytes: 0, tailBytes: 0 };
  }

  #into(piece: Piece, range: HeldRange, offset: number, length: number): WriteTarget {
    try {
      const { clusterBytes } = this.#options.disk.geometry;
      this.#checkPlace(piece.hostOffset, piece.clusters * clusterBytes);
      return this.#target(piece, piece.hostOffset, range, offset, length);
    } catch (cause) {
      this.#options.inFlight.end(range);
      throw cause;
    }
  }

  async #new(
    wanted: Piece,
    range: HeldRange,
    offset: number,
    length: number,
  ): Promise<WriteTarget> {
    const { disk, allocator, inFlight } = this.#options;
    const { clusterBytes } = disk.geometry;
    try {
      if (disk.geometry.hasDataFile) {
        return this.#target(wanted, wanted.firstCluster * clusterBytes, range, offset, length);
      }
      const run = await allocator.take(wanted.clusters);
      const piece = this.#fit(wanted, run, offset, offset + length);
      let own = range;
      if (run.count < wanted.clusters) {
        inFlight.end(range);
        own = inFlight.begin(piece.firstCluster, piece.firstCluster + run.count);
      }
      return this.#target(piece, run.first * clusterBytes, own, offset, length);
    } catch (cause) {
      inFlight.end(range);
      throw cause;
    }
  }

  /** The target in space that was taken at once. */
  #inRun(wanted: Piece, run: ClusterRun, offset: number, length: number): WriteTarget {
    const { disk, inFlight } = this.#options;
    const piece = this.#fit(wanted, run, offset, offset + length);
    const range = inFlight.begin(piece.firstCluster, piece.firstCluster + run.count);
    return this.#target(piece, run.first * disk.geometry.clusterBytes, range, offset, length);
  }

  /**
   * The piece as far as there is space for it. Fresh space has zeros, so that zeros of the guest
   * around the write need not be written there.
   */
  #fit(wanted: Piece, run: ClusterRun, offset: number, writeEnd: number): Piece {
    const { disk } = this.#options;
    const { clusterBytes } = disk.geometry;
    const isShort = run.count < wanted.clusters;
    const end = isShort ? (wanted.firstCluster + run.count) * clusterBytes : wanted.end;
    const isZero = run.isFresh && disk.cipher === undefined;
    return {
      ...wanted,
      clusters: run.count,
      start: isZero && wanted.isHeadZero ? offset : wanted.start,
      end: isZero && wanted.isTailZero ? Math.min(writeEnd, end) : end,
    };
  }

  #target(
    piece: Piece,
    hostOffset: number,
    range: HeldRange,
    offset: number,
    length: number,
  ): WriteTarget {
    const { disk } = this.#options;
    const { clusterBytes } = disk.geometry;
    const end = Math.min(offset + length, piece.end);
    return {
      length: end - offset,
      storage: disk.dataStorage,
      storageOffset: hostOffset + (piece.start - piece.firstCluster * clusterBytes),
      cipher: disk.cipher,
      headBytes: offset - piece.start,
      tailBytes: piece.end - end,
      commit: () => this.#commit(piece, hostOffset, range),
      abort: () => this.#abort(piece, hostOffset, range),
    };
  }

  #abort({ way, clusters }: Piece, hostOffset: number, range: HeldRange): void {
    const { disk, freed, inFlight } = this.#options;
    const { clusterBytes, hasDataFile } = disk.geometry;
    inFlight.end(range);
    if (way !== 'into' && !hasDataFile) freed.addUnreachable(hostOffset, clusters * clusterBytes);
  }

  #commit(piece: Piece, hostOffset: number, range: HeldRange): void | Promise<void> {
    const { disk, inFlight } = this.#options;
    const { clusterBytes } = disk.geometry;
    const guestOffset = piece.firstCluster * clusterBytes;
    const table = tableOffsetOf(disk, guestOffset);
    const sliceOffset = sliceOffsetOf(disk, table, entryIndexOf(disk, guestOffset));
    const slice = disk.l2.get(sliceOffset);
    if (slice === undefined) {
      return disk.l2.load(sliceOffset).then(
        () => this.#commit(piece, hostOffset, range),
        (cause) => {
          // The table cannot be read: the guest keeps what was there.
          this.#abort(piece, hostOffset, range);
          throw cause;
        },
      );
    }
    try {
      this.#setEntries(slice, sliceOffset, piece, hostOffset);
      disk.l2.markDirty(sliceOffset);
    } finally {
      inFlight.end(range);
    }
  }

  #setEntries(slice: Buffer, sliceOffset: number, piece: Piece, hostOffset: number): void {
    const { disk, freed } = this.#options;
    const { geometry } = disk;
    const { clusterBytes, entryBytes, sliceEntries } = geometry;
    const entry = this.#entry;
    for (let index = 0; index < piece.clusters; index++) {
      const cluster = piece.firstCluster + index;
      const indexInSlice = entryIndexOf(disk, cluster * clusterBytes) % sliceEntries;
      readEntryOrThrow(disk, slice, sliceOffset, indexInSlice, entry);
      if (piece.way !== 'into' && entry.hasHost && !geometry.hasDataFile) {
        freed.add(entry.hostOffset, entry.isCompressed ? entry.storedBytesMax : clusterBytes);
      }
      const written = this.#writtenBits(piece, cluster);
      const isCopy = piece.way === 'copy';
      writeEntry(slice, indexInSlice * entryBytes, geometry, {
        hostOffset: hostOffset + index * clusterBytes,
        hasHost: true,
        isCopied: true,
        allocated: isCopy ? written : entry.allocated | written,
        zero: isCopy ? 0 : entry.zero & ~written,
      });
    }
  }

  /** The subclusters of a cluster that the piece writes. */
  #writtenBits(piece: Piece, cluster: number): number {
    const { clusterBytes, subclusterBytes, subclusters } = this.#options.disk.geometry;
    const from = Math.max(0, piece.start - cluster * clusterBytes) / subclusterBytes;
    const to = Math.min(clusterBytes, piece.end - cluster * clusterBytes) / subclusterBytes;
    return bits(Math.floor(from), Math.min(Math.ceil(to), subclusters));
  }

  /**
   * The run from `offset` on that is written in one way; the slice holds its entries. Enciphered, a
   * subcluster that is there and gets a part of a sector is written over, apart from those that are
   * not: only then the rest of the sector is read and kept.
   */
  #pieceAt(slice: Buffer, sliceOffset: number, offset: number, length: number): Piece {
    const piece = this.#runAt(slice, sliceOffset, offset, length);
    const { cipher, geometry } = this.#options.disk;
    if (cipher === undefined || piece.way !== 'into') return piece;
    const { subclusterBytes } = geometry;
    let end = piece.end;
    if (piece.start % SECTOR_BYTES !== 0) end = roundUp(offset, subclusterBytes);
    else if (end % SECTOR_BYTES !== 0) end -= end % subclusterBytes;
    else return piece;
    return this.#pieceAt(slice, sliceOffset, offset, end - offset);
  }

  /** The longest run that is written in one way, whatever sectors it begins and ends in. */
  #runAt(slice: Buffer, sliceOffset: number, offset: number, length: number): Piece {
    const { disk, inFlight } = this.#options;
    const { clusterBytes, subclusterBytes, sliceEntries } = disk.geometry;
    const entry = this.#entry;
    const firstCluster = Math.floor(offset / clusterBytes);
    const firstIndex = entryIndexOf(disk, offset) % sliceEntries;
    const rangeEnd = offset + length;
    readEntryOrThrow(disk, slice, sliceOffset, firstIndex, entry);
    const way = this.#wayOf(firstCluster, offset, rangeEnd);
    const hostOffset = entry.hostOffset;
    // A copy brings whole clusters: what one subcluster reads says nothing about those around it.
    const isHeadZero = way !== 'copy' && this.#isZero(offset);
    const granule = way === 'copy' ? clusterBytes : subclusterBytes;
    // Bytes of a subcluster that is there need no filling up.
    const isHeadThere = way === 'into' && (entry.allocated & this.#bitAt(offset)) !== 0;
    const start = isHeadThere ? offset : Math.floor(offset / granule) * granule;
    let clusters = 1;
    while ((firstCluster + clusters) * clusterBytes < rangeEnd) {
      const cluster = firstCluster + clusters;
      if (firstIndex + clusters >= sliceEntries) break;
      if (inFlight.find(cluster, cluster + 1) !== undefined && way !== 'over') break;
      readEntryOrThrow(disk, slice, sliceOffset, firstIndex + clusters, entry);
      if (this.#wayOf(cluster, cluster * clusterBytes, rangeEnd) !== way) break;
      const isOwnSpace = way === 'over' || way === 'into';
      if (isOwnSpace && entry.hostOffset !== hostOffset + clusters * clusterBytes) break;
      clusters++;
    }
    const lastEnd = Math.min(rangeEnd, (firstCluster + clusters) * clusterBytes);
    const same = { way, start, firstCluster, clusters, hostOffset, isHeadZero };
    if (way === 'over') return { ...same, end: lastEnd, isTailZero: false };
    readEntryOrThrow(disk, slice, sliceOffset, firstIndex + clusters - 1, entry);
    const isTailThere = way === 'into' && (entry.allocated & this.#bitAt(lastEnd - 1)) !== 0;
    const end = isTailThere ? lastEnd : Math.ceil(lastEnd / granule) * granule;
    return { ...same, end, isTailZero: way !== 'copy' && this.#isZero(lastEnd - 1) };
  }

  /** Whether the guest reads zeros from the subcluster there, of the entry just read. */
  #isZero(offset: number): boolean {
    const { isCompressed, allocated, zero } = this.#entry;
    const bit = this.#bitAt(offset);
    if (isCompressed || (allocated & bit) !== 0) return false;
    return (zero & bit) !== 0 || !this.#options.hasBacking();
  }

  /** How the cluster of the entry just read is written, between two guest offsets. */
  #wayOf(cluster: number, from: number, to: number): Way {
    const { clusterBytes, subclusterBytes } = this.#options.disk.geometry;
    const { isCompressed, hasHost, isCopied, allocated } = this.#entry;
    if (isCompressed || (hasHost && !isCopied && allocated !== 0)) return 'copy';
    if (!hasHost || !isCopied) return 'new';
    const start = cluster * clusterBytes;
    const first = Math.floor((from - start) / subclusterBytes);
    const end = Math.ceil((Math.min(to, start + clusterBytes) - start) / subclusterBytes);
    const touched = bits(first, end);
    return (allocated & touched) === (touched | 0) ? 'over' : 'into';
  }

  #bitAt(offset: number): number {
    const { clusterBytes, subclusterBytes } = this.#options.disk.geometry;
    return 1 << Math.floor((offset % clusterBytes) / subclusterBytes);
  }

  #checkPlace(storageOffset: number, length: number): void {
    const { disk, metadata, onDamage } = this.#options;
    if (disk.storage !== disk.dataStorage) return;
    metadata.checkData(storageOffset, length, disk.name, onDamage);
  }
}

/** The bits from `first` to before `end`, of 32; a signed number, as bitwise operators make them. */
function bits(first: number, end: number): number {
  const low = end >= 32 ? -1 : (1 << end) - 1;
  return low & ~((1 << first) - 1);
}
