/**
 * New qcow2 images. Everything lies side by side, each thing in clusters of its own: header, refcount
 * table, refcount blocks, L1 table, key, and with preallocation the L2 tables and the data. So every
 * cluster of the file has one reference.
 */

import { TmemError } from '../../../lib/errors.ts';
import { roundUp } from '../../../lib/round-up.ts';
import { writeUInt64BE } from '../../../lib/uint64.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import type { CreateOptions, PlannedSize, PlanOptions } from '../../format.ts';
import { createLuks, DEFAULT_LUKS, luksHeaderBytes } from '../../luks/luks.ts';
import type { Qcow2Header } from '../structures/header.ts';
import { encodeHeader } from '../structures/header-encode.ts';
import type { HeaderExtension } from '../structures/header-extensions.ts';
import {
  AUTOCLEAR,
  BACKING_NAME_BYTES_MAX,
  COMPATIBLE,
  COMPRESSION,
  CRYPT,
  EXTENSION,
  HEADER_BYTES_V2,
  INCOMPATIBLE,
  L1_BYTES_MAX,
  REFCOUNT_TABLE_BYTES_MAX,
  SECTOR_BYTES,
} from '../structures/layout.ts';
import { FEATURE_NAMES } from './feature-names.ts';
import { refcountsFor } from './refcount-sizes.ts';
import { type CreateSettings, parseCreateSettings } from './settings.ts';

const HEADER_BYTES = 112;
/** Tables are written in pieces of this many bytes. */
const PIECE_BYTES = 1 << 20;
const COPIED = 2 ** 31;

/** Where everything goes; offsets are bytes, counts are clusters. */
interface Plan {
  readonly settings: CreateSettings;
  /** Of the guest's disk, in whole sectors: others would not read the rest of one. */
  readonly sizeBytes: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  readonly blocksOffset: number;
  readonly blocks: number;
  readonly l1Offset: number;
  readonly l1Entries: number;
  readonly luksOffset: number;
  readonly luksBytes: number;
  readonly tablesOffset: number;
  readonly tables: number;
  readonly dataOffset: number;
  /** All clusters of the file. */
  readonly clusters: number;
}

/**
 * Writes an image into an empty storage and makes it durable; a size that is no multiple of 512 is
 * rounded up. Rejects with a usage error for settings that cannot be.
 */
export async function createQcow2(
  storage: ResizableStorage,
  options: CreateOptions,
): Promise<void> {
  const settings = parseCreateSettings(options);
  const plan = planOf(settings, options.sizeBytes);
  checkRefcountTable(plan);
  const first = encodeHeader(headerOf(plan, options), storage.name);
  const { clusterBytes } = settings;
  if (settings.dataFile !== undefined) await createDataFile(settings.dataFile, plan, options);
  await storage.resize(plan.clusters * clusterBytes);
  // Tables have blocks of their own from the start: on a full disk a FLUSH would find none for them.
  await storage.writeZeroes(0, plan.dataOffset, false);
  if (settings.dataFile === undefined) await setAside(storage, plan.dataOffset, plan);
  await writeRefcounts(storage, plan);
  if (plan.tables > 0) await writeTables(storage, plan, options.backing !== undefined);
  if (settings.luks !== undefined && options.passphrase !== undefined) {
    const { passphrase } = options;
    await createLuks(storage, plan.luksOffset, { ...DEFAULT_LUKS, ...settings.luks, passphrase });
  }
  await storage.write(first, 0, first.length, 0);
  await storage.sync();
}

/**
 * The sizes of what `createQcow2` would make. Tables and refcounts are those of a disk that is full, as
 * in qemu-img: they grow with what they count.
 */
export function measureQcow2(options: PlanOptions): PlannedSize {
  const settings = parseCreateSettings(options);
  const { clusterBytes, dataFile, preallocation } = settings;
  checkRefcountTable(planOf(settings, options.sizeBytes));
  const isMapped = preallocation !== 'off';
  const plan = planOf(
    isMapped ? settings : { ...settings, preallocation: 'metadata' },
    options.sizeBytes,
  );
  return {
    tableBytes: plan.dataOffset,
    contentBytes:
      dataFile === undefined ? plan.clusters * clusterBytes - plan.dataOffset : plan.sizeBytes,
    unitBytes: clusterBytes,
    isHeld: preallocation === 'falloc' || preallocation === 'full',
  };
}

function planOf(settings: CreateSettings, wantedBytes: number): Plan {
  const { clusterBytes, refcountBits } = settings;
  const sizeBytes = roundUp(wantedBytes, SECTOR_BYTES);
  const clustersOf = (bytes: number) => Math.ceil(bytes / clusterBytes);
  const tableEntries = clusterBytes / (settings.isExtended ? 16 : 8);
  const dataClusters = clustersOf(sizeBytes);
  const l1Entries = Math.max(1, Math.ceil(dataClusters / tableEntries));
  if (l1Entries * 8 > L1_BYTES_MAX || !Number.isSafeInteger(sizeBytes)) {
    const most = (L1_BYTES_MAX / 8) * tableEntries * clusterBytes;
    const advice = 'use a larger cluster_size or a smaller disk';
    throw tooLarge(wantedBytes, `clusters of ${clusterBytes} bytes reach ${most}`, advice);
  }
  const isMapped = settings.preallocation !== 'off';
  const tables = isMapped ? Math.ceil(dataClusters / tableEntries) : 0;
  const isHeldHere = isMapped && settings.dataFile === undefined;
  const luksBytes = settings.luks === undefined ? 0 : luksHeaderBytes(settings.luks.keyBytes);
  const others =
    1 +
    clustersOf(l1Entries * 8) +
    clustersOf(luksBytes) +
    tables +
    (isHeldHere ? dataClusters : 0);
  const { blocks, refcountTableClusters } = refcountsFor(others, clusterBytes, refcountBits);
  let next = 0;
  const take = (clusters: number): number => {
    next += clusters;
    return (next - clusters) * clusterBytes;
  };
  take(1);
  return {
    settings,
    sizeBytes,
    refcountTableClusters,
    refcountTableOffset: take(refcountTableClusters),
    blocks,
    blocksOffset: take(blocks),
    l1Entries,
    l1Offset: take(clustersOf(l1Entries * 8)),
    luksBytes,
    luksOffset: take(clustersOf(luksBytes)),
    tables,
    tablesOffset: take(tables),
    dataOffset: take(isHeldHere ? dataClusters : 0),
    clusters: next,
  };
}

function checkRefcountTable({ settings, sizeBytes, refcountTableClusters }: Plan): void {
  if (refcountTableClusters * settings.clusterBytes <= REFCOUNT_TABLE_BYTES_MAX) return;
  const advice = 'use a larger cluster_size, smaller refcount_bits or preallocation=off';
  throw tooLarge(sizeBytes, 'its refcount table would be too long', advice);
}

function headerOf(plan: Plan, options: CreateOptions): Qcow2Header {
  const { settings } = plan;
  const { version, clusterBytes } = settings;
  let incompatible = 0n;
  if (settings.dataFile !== undefined) incompatible |= INCOMPATIBLE.dataFile;
  if (settings.compression === 'zstd') incompatible |= INCOMPATIBLE.compressionType;
  if (settings.isExtended) incompatible |= INCOMPATIBLE.extendedL2;
  const backingName = options.backing?.name;
  if (Buffer.byteLength(backingName ?? '') > BACKING_NAME_BYTES_MAX) {
    throw new TmemError(
      'usage',
      'the name of the backing file is too long; 1023 bytes are the most',
    );
  }
  return {
    version,
    clusterBits: Math.log2(clusterBytes),
    clusterBytes,
    sizeBytes: plan.sizeBytes,
    crypt: settings.luks === undefined ? CRYPT.none : CRYPT.luks,
    l1Entries: plan.l1Entries,
    l1Offset: plan.l1Offset,
    refcountTableOffset: plan.refcountTableOffset,
    refcountTableClusters: plan.refcountTableClusters,
    snapshotCount: 0,
    snapshotsOffset: 0,
    incompatible,
    compatible: settings.isLazy ? COMPATIBLE.lazyRefcounts : 0n,
    autoclear: settings.isDataFileRaw ? AUTOCLEAR.rawDataFile : 0n,
    refcountOrder: Math.log2(settings.refcountBits),
    headerBytes: version === 2 ? HEADER_BYTES_V2 : HEADER_BYTES,
    compressionType: settings.compression === 'zstd' ? COMPRESSION.zstd : COMPRESSION.deflate,
    tail: Buffer.alloc(7),
    extensions: extensionsOf(plan, options),
    backingName,
  };
}

/** In the order in which qemu-img writes them. */
function extensionsOf(plan: Plan, { backing }: CreateOptions): HeaderExtension[] {
  const { settings } = plan;
  const extensions: HeaderExtension[] = [];
  if (backing?.formatName !== undefined) {
    extensions.push({ type: EXTENSION.backingFormat, data: Buffer.from(backing.formatName) });
  }
  if (settings.dataFile !== undefined) {
    extensions.push({ type: EXTENSION.dataFileName, data: Buffer.from(settings.dataFile) });
  }
  if (settings.luks !== undefined) {
    const data = Buffer.alloc(16);
    writeUInt64BE(data, plan.luksOffset, 0);
    writeUInt64BE(data, plan.luksBytes, 8);
    extensions.push({ type: EXTENSION.encryption, data });
  }
  // The names are a courtesy, and too long for the smallest clusters.
  if (settings.version === 3 && settings.clusterBytes >= 4096) {
    extensions.push({ type: EXTENSION.featureNames, data: FEATURE_NAMES });
  }
  return extensions;
}

async function createDataFile(name: string, plan: Plan, options: CreateOptions): Promise<void> {
  const file = await options.createFile(name);
  try {
    await file.resize(plan.sizeBytes);
    await setAside(file, 0, plan);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The space for the guest's bytes, if it is to be there from the start. */
async function setAside(storage: ResizableStorage, offset: number, plan: Plan): Promise<void> {
  const { preallocation } = plan.settings;
  if (preallocation !== 'falloc' && preallocation !== 'full') return;
  await storage.writeZeroes(offset, storage.sizeBytes - offset, false);
}

async function writeRefcounts(storage: ResizableStorage, plan: Plan): Promise<void> {
  const { clusterBytes, refcountBits } = plan.settings;
  await writeOffsets(storage, plan.refcountTableOffset, plan.blocks, plan.blocksOffset, 0, plan);
  const bits = plan.clusters * refcountBits;
  const end = plan.blocksOffset + Math.ceil(bits / 8);
  const piece = Buffer.alloc(Math.min(PIECE_BYTES, plan.blocks * clusterBytes));
  fillWithOnes(piece, refcountBits);
  for (let at = plan.blocksOffset; at < end; at += piece.length) {
    const length = Math.min(piece.length, end - at);
    // Counters that share the last byte and count no cluster stay zero.
    if (at + length === end && bits % 8 !== 0) piece[length - 1]! &= 2 ** (bits % 8) - 1;
    await storage.write(piece, 0, length, at);
  }
}

/** Makes every counter of that width a one. */
function fillWithOnes(bytes: Buffer, refcountBits: number): void {
  if (refcountBits < 8) {
    let pattern = 0;
    for (let bit = 0; bit < 8; bit += refcountBits) pattern |= 1 << bit;
    bytes.fill(pattern);
    return;
  }
  const counterBytes = refcountBits / 8;
  for (let at = counterBytes - 1; at < bytes.length; at += counterBytes) bytes[at] = 1;
}

/** L1 and L2 tables that map all of the disk, one cluster behind the other. */
async function writeTables(
  storage: ResizableStorage,
  plan: Plan,
  hasBacking: boolean,
): Promise<void> {
  const { settings, tables, tablesOffset, l1Offset } = plan;
  const { clusterBytes, isExtended, dataFile } = settings;
  await writeOffsets(storage, l1Offset, tables, tablesOffset, COPIED, plan);
  const count = Math.ceil(plan.sizeBytes / clusterBytes);
  const first = dataFile === undefined ? plan.dataOffset : 0;
  if (!isExtended) return writeOffsets(storage, tablesOffset, count, first, COPIED, plan);
  // A subcluster that is not there yet lets the backing file show through.
  const allocated = hasBacking ? 0 : 0xffff_ffff;
  await writeOffsets(storage, tablesOffset, count, first, COPIED, plan, allocated);
}

/**
 * Writes `count` entries that point to clusters in a row, the first at `first`. With `allocated` each
 * is followed by a bitmap of subclusters.
 */
async function writeOffsets(
  storage: ResizableStorage,
  offset: number,
  count: number,
  first: number,
  flagsHigh: number,
  { settings: { clusterBytes } }: Plan,
  allocated?: number,
): Promise<void> {
  const entryBytes = allocated === undefined ? 8 : 16;
  const piece = Buffer.alloc(Math.min(PIECE_BYTES, count * entryBytes));
  for (let index = 0; index < count; ) {
    let at = 0;
    const pieceOffset = offset + index * entryBytes;
    for (; at < piece.length && index < count; at += entryBytes, index++) {
      writeUInt64BE(piece, first + index * clusterBytes, at);
      piece.writeUInt32BE((piece.readUInt32BE(at) | flagsHigh) >>> 0, at);
      if (allocated !== undefined) piece.writeUInt32BE(allocated, at + 12);
    }
    await storage.write(piece, 0, at, pieceOffset);
  }
}

function tooLarge(sizeBytes: number, cause: string, advice: string): TmemError {
  return new TmemError('usage', `a disk of ${sizeBytes} bytes does not fit: ${cause}; ${advice}`);
}
