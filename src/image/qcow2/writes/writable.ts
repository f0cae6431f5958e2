/** A qcow2 disk that can be written: its parts put together, and what a first write must do. */

import { TmemError } from '../../../lib/errors.ts';
import { roundUp } from '../../../lib/round-up.ts';
import type { Mapping, WritableFormat, WriteTarget } from '../../format.ts';
import { checkPinned } from '../../tables/pinned.ts';
import { RequestEpochs } from '../../tables/request-epochs.ts';
import { type Qcow2Disk, storagesOf } from '../reads/disk.ts';
import { Qcow2Mapping } from '../reads/mapping.ts';
import { BlobSpace } from '../space/blob-space.ts';
import { ClusterAllocator } from '../space/cluster-allocator.ts';
import { Coverage } from '../space/coverage.ts';
import { FreedClusters } from '../space/freed-clusters.ts';
import { MetadataMap } from '../space/metadata-map.ts';
import { Refcounts } from '../space/refcounts.ts';
import type { Qcow2Header } from '../structures/header.ts';
import { HeaderFile } from '../structures/header-file.ts';
import { L1_BYTES_MAX } from '../structures/layout.ts';
import { PinnedTable } from '../structures/pinned-table.ts';
import { CompressedWrites } from './compressed-writes.ts';
import { InFlight } from './in-flight.ts';
import type { BitmapSpace } from './kept-bitmap.ts';
import { KeptBitmaps } from './kept-bitmaps.ts';
import { type KnownTables, knownTables } from './known-tables.ts';
import { L2Tables } from './l2-tables.ts';
import { SizeChange } from './size-change.ts';
import { WriteBack } from './write-back.ts';
import { WriteTargets } from './write-targets.ts';
import { Zeroing } from './zeroing.ts';

/** Of the tables in memory: an eighth is for counts, and a quarter at most waits to be written. */
const REFCOUNT_SHARE = 8;
const DIRTY_SHARE = 4;
/** A search through counts needs as many of them at once as the largest table has clusters. */
const REFCOUNT_BYTES_MIN = 1 << 20;

/** What the parts of a writable disk are made from. */
export interface WritableParts {
  readonly disk: Qcow2Disk;
  readonly header: Qcow2Header;
  readonly tableBytesMax: number;
  readonly pinnedBytesMax?: number | undefined;
  /** See `OpenOptions`. */
  readonly isUnplaced?: boolean | undefined;
}

/** Reads the refcount table, and puts the parts together. */
export async function openWritable(parts: WritableParts): Promise<WritableQcow2> {
  const { disk, header } = parts;
  const { refcountTableOffset, refcountTableClusters, clusterBytes } = header;
  const tableBytes = refcountTableClusters * clusterBytes;
  checkPinned(disk.name, fixedBytesOf(parts) + tableBytes, parts);
  const table = await PinnedTable.read(disk.storage, refcountTableOffset, tableBytes / 8);
  const bitmaps = await KeptBitmaps.open(disk.storage, header);
  checkPinned(disk.name, fixedBytesOf(parts) + tableBytes + (bitmaps?.bytes ?? 0), parts);
  const known = await knownTables(disk, header, table, bitmaps?.directory);
  return new WritableQcow2(parts, table, bitmaps, known);
}

/** What a disk holds besides its refcount table and its bitmaps: counts, L1, which clusters are tables. */
function fixedBytesOf({ disk, header, tableBytesMax }: WritableParts): number {
  const { l1 } = disk;
  const metadataBytes = MetadataMap.bytesMax(l1.entries, header.snapshotCount);
  return l1.bytes + countBytesOf(disk, tableBytesMax) + metadataBytes;
}

/** For counts: no more than there are, of a file twice as large as now or with the largest table. */
function countBytesOf({ geometry, storage, virtualSizeBytes }: Qcow2Disk, tableBytesMax: number) {
  const { refcountBits, clusterBytes, sliceBytes } = geometry;
  const fileBytes = Math.max(2 * virtualSizeBytes, 2 * storage.sizeBytes, L1_BYTES_MAX);
  const clusters = fileBytes / clusterBytes;
  const needed = roundUp(Math.ceil((clusters * refcountBits) / 8), sliceBytes) + 16 * sliceBytes;
  return Math.min(needed, Math.max(REFCOUNT_BYTES_MIN, tableBytesMax / REFCOUNT_SHARE));
}

export class WritableQcow2 implements WritableFormat {
  readonly formatName = 'qcow2';
  readonly isWritable = true;
  readonly unitBytes: number;
  readonly compression: 'deflate' | 'zstd' | undefined;
  readonly pinnedBytes: number;
  readonly epochs = new RequestEpochs();
  readonly #disk: Qcow2Disk;
  readonly #header: HeaderFile;
  readonly #dirtyBytesMax: number;
  readonly #mapping: Qcow2Mapping;
  readonly #coverage: Coverage;
  readonly #writeBack: WriteBack;
  readonly #targets: WriteTargets;
  readonly #zeroing: Zeroing;
  readonly #compressed: CompressedWrites;
  readonly #sizeChange: SizeChange;
  /** What was wrong with the tables from the beginning. */
  readonly #fault: TmemError | undefined;
  /** Undefined for an image without bitmaps, or whose bitmaps are disowned. */
  readonly #bitmaps: KeptBitmaps | undefined;
  readonly #bitmapSpace: BitmapSpace;
  #isReady = false;
  #readying: Promise<void> | undefined;
  #growing: Promise<void> | undefined;
  #isDamaged = false;

  constructor(
    parts: WritableParts,
    table: PinnedTable,
    bitmaps: KeptBitmaps | undefined,
    { metadata, fault }: KnownTables,
  ) {
    const { disk, header, tableBytesMax, isUnplaced = false } = parts;
    const { geometry, name, storage } = disk;
    const { clusterBytes } = geometry;
    const { epochs } = this;
    const limitBytes = countBytesOf(disk, tableBytesMax);
    const refcounts = new Refcounts({ name, storage, geometry, table, limitBytes });
    const headerFile = new HeaderFile(storage, header);
    const inFlight = new InFlight();
    const onDamage = () => this.#onDamage();
    const grow = (clusters: number) => {
      // Whoever comes meanwhile looks again when that is done: it was room for all, most likely.
      this.#growing ??= this.#grow(clusters).finally(() => {
        this.#growing = undefined;
      });
      return this.#growing;
    };
    const allocator = new ClusterAllocator({
      ...{ name, clusterBytes, refcounts, metadata, grow, onDamage },
      storedClusters: Math.ceil(storage.sizeBytes / clusterBytes),
    });
    const blobs = new BlobSpace(allocator, refcounts, clusterBytes);
    const onLast = (cluster: number) => blobs.leave(cluster);
    const onFree = (cluster: number) => allocator.freed(cluster);
    const freed = new FreedClusters({
      ...{ storage, clusterBytes, refcounts, epochs, metadata, onLast, onFree, onDamage },
    });
    const onWrote = (end: number) => allocator.wroteTo(end);
    const coverage = new Coverage({
      ...{ name, storage, geometry, refcounts, header: headerFile, metadata, onWrote, onDamage },
      isAhead: !isUnplaced,
    });
    const nextCluster = () => allocator.next;
    const writeBack = new WriteBack({
      ...{ disk, header: headerFile, refcounts, freed, coverage, nextCluster, onWrote },
    });
    const tables = new L2Tables({ disk, allocator, freed, metadata, writeBack });
    const hasBacking = () => headerFile.header.backingName !== undefined;
    const targets = new WriteTargets({
      ...{ disk, tables, allocator, freed, inFlight, metadata, hasBacking, onDamage },
    });
    const paced = () => this.#paced();
    const zeroing = new Zeroing({
      ...{ disk, header: headerFile, tables, freed, inFlight, metadata, paced, onDamage },
    });
    this.pinnedBytes = fixedBytesOf(parts) + table.bytes + (bitmaps?.bytes ?? 0);
    this.#disk = disk;
    this.#fault = fault;
    this.#bitmaps = bitmaps;
    this.#bitmapSpace = {
      allocate: async (count) => (await allocator.takeExactly(count)).first * clusterBytes,
      free: (offset, length) => freed.add(offset, length),
      sync: () => writeBack.sync(),
    };
    this.#header = headerFile;
    this.#dirtyBytesMax = tableBytesMax / DIRTY_SHARE;
    this.#mapping = new Qcow2Mapping(disk);
    this.#coverage = coverage;
    this.#writeBack = writeBack;
    this.#targets = targets;
    this.#zeroing = zeroing;
    this.#compressed = new CompressedWrites({
      ...{ disk, tables, targets, blobs, freed, inFlight, metadata, onDamage },
    });
    this.#sizeChange = new SizeChange({
      ...{ disk, header: headerFile, allocator, freed, metadata, refcounts, writeBack, zeroing },
    });
    this.unitBytes = clusterBytes;
    const mayCompress = !geometry.hasDataFile && disk.cipher === undefined;
    this.compression = mayCompress ? disk.codec.name : undefined;
  }

  get virtualSizeBytes() {
    return this.#disk.virtualSizeBytes;
  }

  get storages() {
    return storagesOf(this.#disk);
  }

  get tables() {
    return this.#disk.l2.statistics;
  }

  map(offset: number, length: number): Mapping | Promise<Mapping> {
    return this.#mapping.map(offset, length);
  }

  allocate(offset: number, length: number): WriteTarget | Promise<WriteTarget> {
    this.#bitmaps?.noteWrite(offset, length);
    if (this.#isReady) {
      const isPaced = this.#writeBack.dirtyBytes > this.#dirtyBytesMax;
      const target = this.#targets.atOnce(offset, length, !isPaced);
      if (target !== undefined) return target;
    }
    return this.#allocateNew(offset, length);
  }

  async zero(offset: number, length: number, mayDiscard: boolean): Promise<boolean> {
    await this.#ready();
    this.#bitmaps?.noteWrite(offset, length);
    return this.#zeroing.zero(offset, length, mayDiscard);
  }

  async discard(offset: number, length: number): Promise<void> {
    await this.#ready();
    this.#bitmaps?.noteWrite(offset, length);
    await this.#zeroing.discard(offset, length);
  }

  async writeCompressed(offset: number, unit: Buffer): Promise<void> {
    await this.#ready();
    this.#bitmaps?.noteWrite(offset, Math.min(unit.length, this.virtualSizeBytes - offset));
    const pause = this.#paced();
    if (pause !== undefined) await pause;
    await this.#compressed.write(offset, unit);
  }

  async sync(): Promise<void> {
    await this.#writeBack.sync();
    await this.#sizeChange.finish();
  }

  async resize(sizeBytes: number): Promise<void> {
    await this.#ready();
    await this.#bitmaps?.prepareResize(sizeBytes);
    // Bitmaps are never shorter than the disk, and as long as it is in the end.
    try {
      const longer = Math.max(sizeBytes, this.virtualSizeBytes);
      await this.#bitmaps?.resize(longer, this.#bitmapSpace);
      await this.#sizeChange.resize(sizeBytes);
    } finally {
      await this.#bitmaps?.resize(this.virtualSizeBytes, this.#bitmapSpace);
    }
  }

  /** Snapshots have holes of their own, which nobody has filled: with them the image keeps its base. */
  checkMayDropBacking(): void {
    if (this.#header.header.snapshotCount === 0) return;
    const advice = 'delete its snapshots with "qemu-img snapshot -d"';
    const cause = 'its snapshots still show what is below';
    const message = `"${this.#disk.name}" keeps its backing file: ${cause}; ${advice}`;
    throw new TmemError('unsupported', message);
  }

  async dropBacking(): Promise<void> {
    await this.#ready();
    await this.sync();
    await this.#header.dropBacking(this.#disk.name);
  }

  /** What is free by now is counted as free on the storage, too. */
  async close(): Promise<void> {
    await this.sync();
    if (this.#isReady) await this.#storeBitmaps();
    // Counts go down when what was replaced is durable, which makes them differ once more.
    while (this.#writeBack.dirtyBytes > 0) await this.#writeBack.sync();
    await this.#disk.storage.finish?.();
  }

  async #allocateNew(offset: number, length: number): Promise<WriteTarget> {
    await this.#ready();
    const pause = this.#paced();
    if (pause !== undefined) await pause;
    return this.#targets.allocate(offset, length);
  }

  /** Before the first change, what this writer does not keep true is durably disowned. */
  async #ready(): Promise<void> {
    if (this.#isDamaged) throw this.#refusal();
    if (this.#isReady) return;
    if (this.#fault !== undefined) {
      this.#onDamage();
      throw this.#fault;
    }
    this.#readying ??= this.#disown();
    try {
      await this.#readying;
      this.#isReady = !this.#isDamaged;
    } finally {
      this.#readying = undefined;
    }
  }

  async #disown(): Promise<void> {
    await this.#header.clearAutoclear(this.#bitmaps !== undefined);
    await this.#bitmaps?.begin();
  }

  /** Bitmaps that cannot be stored, for want of space, stay marked: then nobody believes them. */
  async #storeBitmaps(): Promise<void> {
    try {
      await this.#bitmaps?.store(this.#bitmapSpace);
    } catch (cause) {
      if (!(cause instanceof TmemError) || cause.kind !== 'no-space') throw cause;
    }
  }

  /** Bounds what a crash can lose, and memory: tables are written when too much of them waits. */
  #paced(): Promise<void> | undefined {
    return this.#writeBack.dirtyBytes > this.#dirtyBytesMax ? this.#writeBack.sync() : undefined;
  }

  async #grow(clusters: number): Promise<void> {
    this.#coverage.want(clusters);
    await this.#writeBack.sync();
    const failure = this.#coverage.takeFailure();
    if (failure !== undefined) throw failure;
  }

  #onDamage(): void {
    if (this.#isDamaged) return;
    this.#isDamaged = true;
    this.#isReady = false;
    // Whoever found it reports it; that the mark cannot be made changes nothing about that.
    this.#header.markCorrupt().catch(() => undefined);
  }

  #refusal(): TmemError {
    const { name } = this.#disk;
    const advice = 'run "tmem image check" on it';
    return new TmemError('io', `"${name}" is damaged and takes no more changes; ${advice}`);
  }
}
