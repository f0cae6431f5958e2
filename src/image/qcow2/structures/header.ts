/** The header of a qcow2 image: read with every number in it held against what it may be. */

import { TmemError } from '../../../lib/errors.ts';
import { readUInt64BE } from '../../../lib/uint64.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import { readPadded } from '../../tables/read-padded.ts';
import { featureName, type HeaderExtension, parseExtensions } from './header-extensions.ts';
import {
  AUTOCLEAR,
  BACKING_NAME_BYTES_MAX,
  CLUSTER_BITS_MAX,
  CLUSTER_BITS_MIN,
  CLUSTER_BITS_MIN_EXTENDED,
  COMPRESSION,
  CRYPT,
  FIELD,
  HEADER_BYTES_V2,
  HEADER_BYTES_V3,
  INCOMPATIBLE,
  INCOMPATIBLE_KNOWN,
  L1_BYTES_MAX,
  MAGIC,
  REFCOUNT_ORDER_MAX,
  REFCOUNT_TABLE_BYTES_MAX,
  SNAPSHOTS_MAX,
} from './layout.ts';
import { refusal } from './refusal.ts';

/** Table lengths are capped, so that no sum with a number up to this can leave the safe integers. */
const NUMBER_MAX = Number.MAX_SAFE_INTEGER - 2 ** 32;

/** A header as the image has it; offsets and sizes are bytes, safe integers. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly clusterBytes: number;
  /** Of the guest's disk; any number, 0 too. */
  readonly sizeBytes: number;
  /** One of `CRYPT`. */
  readonly crypt: number;
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  readonly snapshotCount: number;
  readonly snapshotsOffset: number;
  /** Feature bits; all zero in version 2. */
  readonly incompatible: bigint;
  readonly compatible: bigint;
  readonly autoclear: bigint;
  /** A refcount has 2 to the power of this many bits. */
  readonly refcountOrder: number;
  readonly headerBytes: number;
  /** One of `COMPRESSION`. */
  readonly compressionType: number;
  /** Header bytes behind those that are known here, kept as they are; 105 is the first. */
  readonly tail: Buffer;
  /** In their order, unknown ones too. */
  readonly extensions: readonly HeaderExtension[];
  /** Hostile until the gate has let it through. */
  readonly backingName: string | undefined;
}

export interface HeaderParseOptions {
  /** A check reads images without a refcount table, and mends them. Default false. */
  readonly isForCheck?: boolean;
}

/** Reads the header of the image on `storage`; see `parseHeader`. */
export async function readHeader(
  storage: ResizableStorage,
  options: HeaderParseOptions = {},
): Promise<Qcow2Header> {
  const bytesMax = 2 ** CLUSTER_BITS_MAX;
  const head = Buffer.alloc(Math.min(storage.sizeBytes, HEADER_BYTES_V3));
  await readPadded(storage, head, 0, head.length, 0);
  const clusterBits = head.length < HEADER_BYTES_V2 ? 0 : head.readUInt32BE(FIELD.clusterBits);
  const wanted = clusterBits <= CLUSTER_BITS_MAX ? 2 ** clusterBits : bytesMax;
  const bytes = Buffer.alloc(Math.min(storage.sizeBytes, wanted));
  await readPadded(storage, bytes, 0, bytes.length, 0);
  return parseHeader(bytes.length < head.length ? head : bytes, storage.name, options);
}

/**
 * The header in `bytes`, which hold the first cluster or all of a smaller file. Throws a TmemError:
 * `invalid` for what no image may say, `unsupported` for a feature that is not known here.
 */
export function parseHeader(
  bytes: Buffer,
  name: string,
  options: HeaderParseOptions = {},
): Qcow2Header {
  if (bytes.length < HEADER_BYTES_V2) {
    throw refusal(name, bytes.length, `the file ends, and a header has ${HEADER_BYTES_V2} bytes`);
  }
  if (bytes.readUInt32BE(0) !== MAGIC) throw refusal(name, 0, 'the magic number is not there');
  const version = bytes.readUInt32BE(FIELD.version);
  if (version !== 2 && version !== 3)
    throw unsupported(name, FIELD.version, `is of version ${version}`);
  if (version === 3 && bytes.length < HEADER_BYTES_V3) {
    throw refusal(name, bytes.length, `the file ends, and a header has ${HEADER_BYTES_V3} bytes`);
  }
  const clusterBits = bytes.readUInt32BE(FIELD.clusterBits);
  if (clusterBits < CLUSTER_BITS_MIN || clusterBits > CLUSTER_BITS_MAX) {
    throw refusal(name, FIELD.clusterBits, `clusters have ${clusterBits} bits, not 9 to 21`);
  }
  const clusterBytes = 2 ** clusterBits;
  const numbers = parseNumbers(bytes, name, clusterBytes, options);
  const features = parseFeatures(bytes, name, version, clusterBytes);
  const backing = parseBackingName(bytes, name, clusterBytes);
  const end = Math.min(bytes.length, clusterBytes, backing?.offset ?? clusterBytes);
  const extensions = parseExtensions(bytes, features.headerBytes, end, name);
  const header = {
    version,
    clusterBits,
    clusterBytes,
    ...numbers,
    ...features,
    extensions,
    backingName: backing?.text,
  } as const;
  checkFeatures(header, name);
  checkSize(header, name);
  return header;
}

function parseNumbers(
  bytes: Buffer,
  name: string,
  clusterBytes: number,
  { isForCheck = false }: HeaderParseOptions,
) {
  const numbers = {
    sizeBytes: diskSize(bytes, name),
    crypt: bytes.readUInt32BE(FIELD.crypt),
    l1Entries: bytes.readUInt32BE(FIELD.l1Entries),
    l1Offset: tableOffset(bytes, name, FIELD.l1Offset, 'the L1 table', clusterBytes),
    refcountTableOffset: tableOffset(
      ...([bytes, name, FIELD.refcountTableOffset, 'the refcount table', clusterBytes] as const),
    ),
    refcountTableClusters: bytes.readUInt32BE(FIELD.refcountTableClusters),
    snapshotCount: bytes.readUInt32BE(FIELD.snapshotCount),
    snapshotsOffset: 0,
  };
  const { l1Entries, refcountTableClusters, snapshotCount } = numbers;
  if (l1Entries * 8 > L1_BYTES_MAX) {
    throw refusal(name, FIELD.l1Entries, `an L1 table of ${l1Entries} entries is too large`);
  }
  if (refcountTableClusters * clusterBytes > REFCOUNT_TABLE_BYTES_MAX) {
    const cause = `a refcount table of ${refcountTableClusters} clusters is too large`;
    throw refusal(name, FIELD.refcountTableClusters, cause);
  }
  if (refcountTableClusters === 0 && !isForCheck) {
    throw refusal(name, FIELD.refcountTableClusters, 'there is no refcount table');
  }
  if (snapshotCount > SNAPSHOTS_MAX) {
    throw refusal(name, FIELD.snapshotCount, `${snapshotCount} snapshots are too many`);
  }
  if (snapshotCount === 0) return numbers;
  const what = 'the snapshot table';
  numbers.snapshotsOffset = tableOffset(bytes, name, FIELD.snapshotsOffset, what, clusterBytes);
  return numbers;
}

function parseFeatures(bytes: Buffer, name: string, version: 2 | 3, clusterBytes: number) {
  if (version === 2) {
    return {
      incompatible: 0n,
      compatible: 0n,
      autoclear: 0n,
      refcountOrder: 4,
      headerBytes: HEADER_BYTES_V2,
      compressionType: COMPRESSION.deflate,
      tail: Buffer.alloc(0),
    };
  }
  const refcountOrder = bytes.readUInt32BE(FIELD.refcountOrder);
  if (refcountOrder > REFCOUNT_ORDER_MAX) {
    const cause = `refcounts of 2^${refcountOrder} bits are wider than 64`;
    throw refusal(name, FIELD.refcountOrder, cause);
  }
  const headerBytes = bytes.readUInt32BE(FIELD.headerBytes);
  const isLength = headerBytes >= HEADER_BYTES_V3 && headerBytes % 8 === 0;
  if (!isLength || headerBytes > Math.min(clusterBytes, bytes.length)) {
    throw refusal(name, FIELD.headerBytes, `a header cannot have ${headerBytes} bytes`);
  }
  const hasType = headerBytes > FIELD.compressionType;
  return {
    incompatible: bytes.readBigUInt64BE(FIELD.incompatible),
    compatible: bytes.readBigUInt64BE(FIELD.compatible),
    autoclear: bytes.readBigUInt64BE(FIELD.autoclear),
    refcountOrder,
    headerBytes,
    compressionType: hasType ? bytes.readUInt8(FIELD.compressionType) : COMPRESSION.deflate,
    tail: Buffer.from(bytes.subarray(FIELD.compressionType + 1, headerBytes)),
  };
}

function parseBackingName(bytes: Buffer, name: string, clusterBytes: number) {
  const offset = safeNumber(bytes, name, FIELD.backingNameOffset, 'the name of the backing file');
  if (offset === 0) return undefined;
  const length = bytes.readUInt32BE(FIELD.backingNameBytes);
  if (length === 0) return undefined;
  if (length > BACKING_NAME_BYTES_MAX) {
    const cause = `the name of a backing file has ${length} bytes, more than 1023`;
    throw refusal(name, FIELD.backingNameBytes, cause);
  }
  if (offset + length > Math.min(clusterBytes, bytes.length)) {
    const cause = `the name of the backing file at ${offset} is not inside the first cluster`;
    throw refusal(name, FIELD.backingNameOffset, cause);
  }
  return { offset, text: bytes.toString('utf8', offset, offset + length) };
}

function checkFeatures(header: Qcow2Header, name: string): void {
  const unknown = header.incompatible & ~INCOMPATIBLE_KNOWN;
  for (let bit = 0; bit < 64; bit++) {
    if ((unknown & (1n << BigInt(bit))) === 0n) continue;
    const called = featureName(header.extensions, bit);
    const what = called === undefined ? `feature bit ${bit}` : `the feature "${called}"`;
    throw unsupported(name, FIELD.incompatible, `needs ${what}, which is not known here`);
  }
  const { compressionType, crypt, clusterBits } = header;
  const saysType = has(header, 'compressionType');
  if (compressionType > COMPRESSION.zstd) {
    const cause = `is compressed with the unknown method ${compressionType}`;
    throw unsupported(name, FIELD.compressionType, cause);
  }
  if (saysType !== (compressionType !== COMPRESSION.deflate)) {
    const cause = `compression type ${compressionType} does not go with its feature bit`;
    throw refusal(name, FIELD.compressionType, cause);
  }
  if (crypt > CRYPT.luks) {
    throw unsupported(name, FIELD.crypt, `is enciphered in the unknown way ${crypt}`);
  }
  if (has(header, 'extendedL2') && clusterBits < CLUSTER_BITS_MIN_EXTENDED) {
    const cause = `clusters of ${header.clusterBytes} bytes are too small for extended L2 entries`;
    throw refusal(name, FIELD.clusterBits, cause);
  }
  if (!isRawDataFile(header)) return;
  if (header.backingName !== undefined) {
    throw refusal(name, FIELD.autoclear, 'a raw data file has no backing file, and one is named');
  }
}

function checkSize(header: Qcow2Header, name: string): void {
  const { clusterBytes, l1Entries, sizeBytes } = header;
  const entriesPerTable = clusterBytes / (has(header, 'extendedL2') ? 16 : 8);
  const needed = Math.ceil(sizeBytes / (clusterBytes * entriesPerTable));
  if (needed <= l1Entries) return;
  const cause = `an L1 table of ${l1Entries} entries is too small for ${sizeBytes} bytes of disk`;
  throw refusal(name, FIELD.l1Entries, cause);
}

/** Whether an incompatible feature is on. */
export function has(header: Qcow2Header, feature: keyof typeof INCOMPATIBLE): boolean {
  return (header.incompatible & INCOMPATIBLE[feature]) !== 0n;
}

/** Whether the data file is to stay a raw image of the disk; the bit says nothing without one. */
export function isRawDataFile(header: Qcow2Header): boolean {
  return has(header, 'dataFile') && (header.autoclear & AUTOCLEAR.rawDataFile) !== 0n;
}

function tableOffset(
  bytes: Buffer,
  name: string,
  field: number,
  what: string,
  clusterBytes: number,
): number {
  const offset = safeNumber(bytes, name, field, what);
  if (offset % clusterBytes === 0) return offset;
  throw refusal(name, field, `${what} at ${offset} does not begin with a cluster`);
}

/** What L1 tables of large clusters can describe is more than is counted here. */
function diskSize(bytes: Buffer, name: string): number {
  const value = readUInt64BE(bytes, FIELD.sizeBytes);
  if (value <= NUMBER_MAX) return value;
  const advice = 'make its disk smaller with the program that made it';
  throw unsupported(name, FIELD.sizeBytes, 'has a disk of more than 8191TiB', advice);
}

function safeNumber(bytes: Buffer, name: string, field: number, what: string): number {
  const value = readUInt64BE(bytes, field);
  if (value <= NUMBER_MAX) return value;
  throw refusal(name, field, `${what} is said to be at ${value}, where nothing can be`);
}

function unsupported(
  name: string,
  offset: number,
  cause: string,
  advice = 'convert it with the program that made it',
): TmemError {
  return new TmemError(
    'unsupported',
    `cannot open "${name}" as qcow2: by offset ${offset}, the image ${cause}; ${advice}`,
    { context: { image: name, offset } },
  );
}
