/** What follows from a header and never changes while an image is open. */

import { has, type Qcow2Header } from './header.ts';
import { SLICE_BYTES } from './layout.ts';

/** Sizes are bytes and powers of two. */
export interface Geometry {
  readonly clusterBits: number;
  readonly clusterBytes: number;
  /** 8, or 16 with extended entries. */
  readonly entryBytes: number;
  /** Entries of one L2 table, which is one cluster. */
  readonly tableEntries: number;
  /** How much of the guest's disk one L2 table describes. */
  readonly tableCoverageBytes: number;
  /** How much of a table is read, held and written at once. */
  readonly sliceBytes: number;
  readonly sliceEntries: number;
  /** Parts of a cluster that are there or not by themselves: 32 with extended entries, else 1. */
  readonly subclusters: number;
  readonly subclusterBytes: number;
  /** 1 to 64. */
  readonly refcountBits: number;
  /** Clusters whose counts are in one refcount block, which is one cluster. */
  readonly blockEntries: number;
  /** Version 2 cannot say that a cluster is zeros. */
  readonly hasZeroFlag: boolean;
  /** Whether the guest's bytes are in a file of their own, at their own offsets. */
  readonly hasDataFile: boolean;
}

/** The geometry of an image with that header. */
export function geometryOf(header: Qcow2Header): Geometry {
  const { clusterBits, clusterBytes, refcountOrder } = header;
  const isExtended = has(header, 'extendedL2');
  const entryBytes = isExtended ? 16 : 8;
  const tableEntries = clusterBytes / entryBytes;
  const sliceBytes = Math.min(SLICE_BYTES, clusterBytes);
  const subclusters = isExtended ? 32 : 1;
  const refcountBits = 2 ** refcountOrder;
  return {
    clusterBits,
    clusterBytes,
    entryBytes,
    tableEntries,
    tableCoverageBytes: tableEntries * clusterBytes,
    sliceBytes,
    sliceEntries: sliceBytes / entryBytes,
    subclusters,
    subclusterBytes: clusterBytes / subclusters,
    refcountBits,
    blockEntries: (clusterBytes * 8) / refcountBits,
    hasZeroFlag: header.version >= 3,
    hasDataFile: has(header, 'dataFile'),
  };
}
