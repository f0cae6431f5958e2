/**
 * Where things are in a qcow2 image and what its bits mean (qcow2 specification, versions 2 and 3).
 * All numbers on the storage are big endian.
 */

export const MAGIC = 0x51_46_49_fb;

/** Header fields, by their offset on the storage. */
export const FIELD = {
  version: 4,
  backingNameOffset: 8,
  backingNameBytes: 16,
  clusterBits: 20,
  sizeBytes: 24,
  crypt: 32,
  l1Entries: 36,
  l1Offset: 40,
  refcountTableOffset: 48,
  refcountTableClusters: 56,
  snapshotCount: 60,
  snapshotsOffset: 64,
  incompatible: 72,
  compatible: 80,
  autoclear: 88,
  refcountOrder: 96,
  headerBytes: 100,
  compressionType: 104,
} as const;

export const HEADER_BYTES_V2 = 72;
/** The least that a version 3 header may be. */
export const HEADER_BYTES_V3 = 104;

export const CLUSTER_BITS_MIN = 9;
export const CLUSTER_BITS_MAX = 21;
/** So that a 32nd of a cluster is a sector at least. */
export const CLUSTER_BITS_MIN_EXTENDED = 14;
export const REFCOUNT_ORDER_MAX = 6;
export const L1_BYTES_MAX = 32 << 20;
export const REFCOUNT_TABLE_BYTES_MAX = 8 << 20;
export const SNAPSHOTS_MAX = 65_536;
export const SNAPSHOT_TABLE_BYTES_MAX = 64 << 20;
export const BACKING_NAME_BYTES_MAX = 1023;

/** A reader that does not know one of these must leave the image alone. */
export const INCOMPATIBLE = {
  dirty: 1n,
  corrupt: 2n,
  dataFile: 4n,
  compressionType: 8n,
  extendedL2: 16n,
} as const;
export const INCOMPATIBLE_KNOWN = 31n;
export const COMPATIBLE = { lazyRefcounts: 1n } as const;
/** A writer that does not know one of these clears it. */
export const AUTOCLEAR = { bitmaps: 1n, rawDataFile: 2n } as const;
export const AUTOCLEAR_KNOWN = AUTOCLEAR.bitmaps | AUTOCLEAR.rawDataFile;

/** Types of header extensions. */
export const EXTENSION = {
  end: 0,
  backingFormat: 0xe279_2aca,
  featureNames: 0x6803_f857,
  bitmaps: 0x2385_2875,
  encryption: 0x0537_be77,
  dataFileName: 0x4441_5441,
} as const;

export const CRYPT = { none: 0, aes: 1, luks: 2 } as const;
export const COMPRESSION = { deflate: 0, zstd: 1 } as const;

export const SECTOR_BYTES = 512;
/** What a slice of a table is at most; never more than a cluster, which tables share with nobody. */
export const SLICE_BYTES = 4096;
