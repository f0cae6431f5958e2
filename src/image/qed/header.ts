/**
 * The header of a QED image (QED specification, "Header"): 64 bytes, little endian, hostile until
 * every field has been looked at.
 */

import { TmemError } from '../../lib/errors.ts';
import { readUInt64LE, writeUInt64LE } from '../../lib/uint64.ts';
import type { Storage } from '../../storage/storage.ts';
import {
  type AppendedLayout,
  ENTRY_BYTES,
  type EntryCodec,
  HOLE,
  INVALID,
  ZERO,
} from '../appended/layout.ts';
import type { ImageReference } from '../format.ts';
import { readPadded } from '../tables/read-padded.ts';

export const QED_MAGIC = 0x00444551;
export const QED_HEADER_BYTES = 64;

/** Bits of `features`: whoever does not know one of them must not open the image. */
export const FEATURE = { backingFile: 1, needCheck: 2, backingIsRaw: 4 } as const;
const FEATURES_KNOWN = FEATURE.backingFile | FEATURE.needCheck | FEATURE.backingIsRaw;

/** Where the fields that change are. */
export const FIELD = { features: 16, autoclear: 32, imageSize: 48, backingName: 56 } as const;

export const CLUSTER_BYTES_MIN = 4096;
export const CLUSTER_BYTES_MAX = 2 ** 26;
export const TABLE_CLUSTERS_MAX = 16;
/** What others read of a backing file's name. */
export const NAME_BYTES_MAX = 1023;

/** A header whose every value is in range. */
export interface QedHeader {
  readonly clusterBytes: number;
  readonly tableClusters: number;
  readonly headerClusters: number;
  /** `FEATURE` bits. */
  readonly features: number;
  readonly hasAutoclear: boolean;
  readonly l1Offset: number;
  readonly virtualSizeBytes: number;
  readonly backingName: string | undefined;
}

/** Reads and checks the header; throws a TmemError that names file, offset and cause. */
export async function readQedHeader(storage: Storage): Promise<QedHeader> {
  const raw = Buffer.alloc(QED_HEADER_BYTES);
  await readPadded(storage, raw, 0, raw.length, 0);
  checkIsWhole(storage);
  if (raw.readUInt32LE(0) !== QED_MAGIC) refuse(storage, 0, 'has no QED magic');
  const clusterBytes = powerOfTwo(storage, raw, 4, CLUSTER_BYTES_MIN, CLUSTER_BYTES_MAX);
  const tableClusters = powerOfTwo(storage, raw, 8, 1, TABLE_CLUSTERS_MAX);
  const features = featuresOf(storage, raw);
  const headerClusters = raw.readUInt32LE(12);
  const headerBytes = headerClusters * clusterBytes;
  if (headerClusters === 0 || headerBytes >= 2 ** 32) {
    refuse(storage, 12, `has a header of ${headerClusters} clusters`);
  }
  const header: QedHeader = {
    clusterBytes,
    tableClusters,
    headerClusters,
    features,
    hasAutoclear: raw.readUInt32LE(FIELD.autoclear) + raw.readUInt32LE(FIELD.autoclear + 4) !== 0,
    l1Offset: safe(storage, raw, 40),
    virtualSizeBytes: safe(storage, raw, FIELD.imageSize),
    backingName: await backingNameOf(storage, raw, features, headerBytes),
  };
  checkPlaces(storage, header);
  return header;
}

function checkIsWhole(storage: Storage): void {
  const { sizeBytes } = storage;
  if (sizeBytes >= QED_HEADER_BYTES) return;
  refuse(storage, sizeBytes, `has ${QED_HEADER_BYTES} bytes, and the file ends in it`);
}

function featuresOf(storage: Storage, raw: Buffer): number {
  const low = raw.readUInt32LE(FIELD.features);
  const high = raw.readUInt32LE(FIELD.features + 4);
  const unknown = (low & ~FEATURES_KNOWN) >>> 0;
  if (unknown === 0 && high === 0) return low;
  const bits = (BigInt(high) << 32n) | BigInt(unknown);
  throw new TmemError(
    'unsupported',
    `cannot open "${storage.name}": its features at offset ${FIELD.features} have bits ` +
      `0x${bits.toString(16)}, which are unknown here; open it with what made it`,
    { context: { image: storage.name, offset: FIELD.features } },
  );
}

function checkPlaces(storage: Storage, header: QedHeader): void {
  const { l1Offset, clusterBytes, headerClusters, virtualSizeBytes } = header;
  const tableBytes = tableBytesOf(header);
  const isAligned = l1Offset % clusterBytes === 0 && l1Offset >= headerClusters * clusterBytes;
  if (!isAligned) {
    refuse(storage, 40, `puts its first-level table at ${l1Offset}, where none can be`);
  }
  if (l1Offset + tableBytes > storage.sizeBytes) {
    const cutOff = `and the file ends at ${storage.sizeBytes}: it was cut off`;
    refuse(storage, 40, `puts its first-level table at ${l1Offset}, ${cutOff}`);
  }
  if (virtualSizeBytes % 512 !== 0) {
    refuse(storage, FIELD.imageSize, `is of ${virtualSizeBytes} bytes, no multiple of 512`);
  }
  const max = virtualSizeMax(header);
  if (virtualSizeBytes > max) {
    refuse(storage, FIELD.imageSize, `is of ${virtualSizeBytes} bytes, of which ${max} fit`);
  }
}

async function backingNameOf(
  storage: Storage,
  raw: Buffer,
  features: number,
  headerBytes: number,
): Promise<string | undefined> {
  if ((features & FEATURE.backingFile) === 0) return undefined;
  const offset = raw.readUInt32LE(FIELD.backingName);
  const length = raw.readUInt32LE(FIELD.backingName + 4);
  const isInside = offset >= QED_HEADER_BYTES && offset + length <= headerBytes;
  if (!isInside || length === 0 || length > NAME_BYTES_MAX) {
    refuse(storage, FIELD.backingName, `has ${length} bytes of backing file name at ${offset}`);
  }
  const name = Buffer.alloc(length);
  await readPadded(storage, name, 0, length, offset);
  return name.toString('utf8');
}

function powerOfTwo(storage: Storage, raw: Buffer, at: number, min: number, max: number): number {
  const value = raw.readUInt32LE(at);
  if (value >= min && value <= max && (value & (value - 1)) === 0) return value;
  return refuse(storage, at, `says ${value}, which is no power of two from ${min} to ${max}`);
}

function safe(storage: Storage, raw: Buffer, at: number): number {
  const value = raw.readBigUInt64LE(at);
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  return refuse(storage, at, `says ${value}, which is too large`);
}

function refuse(storage: Storage, offset: number, cause: string): never {
  throw new TmemError(
    'invalid',
    `cannot open "${storage.name}" as qed: its header ${cause} (offset ${offset}); ` +
      'it is damaged or of another format',
    { context: { image: storage.name, offset } },
  );
}

/** Bytes of a table of either level. */
export function tableBytesOf({ clusterBytes, tableClusters }: QedGeometry): number {
  return clusterBytes * tableClusters;
}

export interface QedGeometry {
  readonly clusterBytes: number;
  readonly tableClusters: number;
}

/** What the two levels can map, bytes; whole sectors, and exact as a number. */
export function virtualSizeMax(geometry: QedGeometry): number {
  const entries = tableBytesOf(geometry) / ENTRY_BYTES;
  return Math.min(entries * entries * geometry.clusterBytes, 2 ** 53 - 512);
}

/** The header's bytes up to the end of the name, which begins at `nameOffset`, or right behind them. */
export function encodeQedHeader(header: QedHeader, nameOffset = QED_HEADER_BYTES): Buffer {
  const name = Buffer.from(header.backingName ?? '', 'utf8');
  const raw = Buffer.alloc(nameOffset + name.length);
  raw.writeUInt32LE(QED_MAGIC, 0);
  raw.writeUInt32LE(header.clusterBytes, 4);
  raw.writeUInt32LE(header.tableClusters, 8);
  raw.writeUInt32LE(header.headerClusters, 12);
  raw.writeUInt32LE(header.features, FIELD.features);
  writeUInt64LE(raw, header.l1Offset, 40);
  writeUInt64LE(raw, header.virtualSizeBytes, FIELD.imageSize);
  if (name.length > 0) {
    raw.writeUInt32LE(nameOffset, FIELD.backingName);
    raw.writeUInt32LE(name.length, FIELD.backingName + 4);
    name.copy(raw, nameOffset);
  }
  return raw;
}

export function backingOf(header: QedHeader): ImageReference | undefined {
  if (header.backingName === undefined) return undefined;
  const isRaw = (header.features & FEATURE.backingIsRaw) !== 0;
  const formatName = isRaw ? 'raw' : undefined;
  return { role: 'backing file', name: header.backingName, formatName };
}

function readTable(table: Buffer, at: number): number {
  return table.readUInt32LE(at + 4) >= 2 ** 21 ? INVALID : readUInt64LE(table, at);
}

/** 0 is unallocated, 1 a zero cluster, all else an offset. */
export const qedCodec: EntryCodec = {
  readTable,
  readUnit: (table, at) => {
    const value = readTable(table, at);
    return value === 1 ? ZERO : value;
  },
  write: (table, at, entry) => {
    const value = entry === ZERO ? 1 : entry === HOLE ? 0 : entry;
    writeUInt64LE(table, value, at);
  },
};

export function qedLayout(header: QedHeader): AppendedLayout {
  const entries = tableBytesOf(header) / ENTRY_BYTES;
  return {
    codec: qedCodec,
    unitBytes: header.clusterBytes,
    entriesPerTable: entries,
    l1Offset: header.l1Offset,
    l1EntriesMax: entries,
    alignmentBytes: header.clusterBytes,
    headerBytes: header.headerClusters * header.clusterBytes,
    sliceBytes: CLUSTER_BYTES_MIN,
    hasZeroEntries: true,
  };
}
