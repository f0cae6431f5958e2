/**
 * L2 entries as nearly all are: one cluster of data each, or nothing. They are counted in one loop
 * over typed arrays, without a call and with numbers of 32 bits only, since an image has millions of
 * them. Whatever is out of the ordinary is left to `TableWalk`.
 */

import { type ClusterCounts, PAGE_BITS, PAGE_CLUSTERS } from './cluster-counts.ts';
import type { TableTotals } from './tables.ts';

/** Of the first word of an entry, its bytes swapped: what an ordinary entry does not have. */
const UNUSUAL = 0x7f;
const COPIED = 0x80;
const SMALL_MAX = 0xffff;

export interface PlainParts {
  /** References that are counted, and the counts that the image keeps. */
  readonly marks: ClusterCounts;
  readonly stored: ClusterCounts;
  /** Of the file, the last perhaps only in part. */
  readonly clusters: number;
  readonly clusterBits: number;
}

/**
 * Counts entries of 8 bytes from the word `first` on, as they lie in the storage, each referred to
 * once and by the active disk. Answers where it stopped: at an entry to be looked at closely, or at
 * `end`.
 */
export function countPlain(
  words: Uint32Array,
  first: number,
  end: number,
  { marks, stored, clusters, clusterBits }: PlainParts,
  totals: TableTotals,
): number {
  const highBits = clusterBits - 1;
  const shift = 32 - clusterBits;
  // Flags, and what is not the beginning of a cluster.
  const unusualLow = swap(2 ** clusterBits - 1);
  const behind = totals.contiguous / 2 ** clusterBits;
  // No cluster is there where the one before is not at the beginning of one.
  let next = Number.isInteger(behind) && behind <= clusters ? behind | 0 : -1;
  let allocated = 0;
  let fragmented = 0;
  let page = -1;
  let references: Uint16Array | undefined;
  let kept: Uint16Array | undefined;
  let word = first;
  for (; word < end; word += 2) {
    const high = words[word]!;
    const low = words[word + 1]!;
    if ((high | low) === 0) continue;
    if (((high & UNUSUAL) | (low & unusualLow)) !== 0) break;
    const offsetHigh = swap(high & ~COPIED);
    if (offsetHigh >>> highBits !== 0) break;
    const cluster = (offsetHigh << shift) | (swap(low) >>> clusterBits);
    if (cluster === 0 || cluster >= clusters) break;
    if (cluster >>> PAGE_BITS !== page) {
      page = cluster >>> PAGE_BITS;
      kept = stored.smallPage(page);
      if (kept !== undefined) marks.makePage(page);
      references = marks.smallPage(page);
    }
    if (references === undefined || kept === undefined) break;
    const entry = cluster & (PAGE_CLUSTERS - 1);
    if ((kept[entry] === 1) !== ((high & COPIED) !== 0)) break;
    const count = references[entry]!;
    if (count === SMALL_MAX) break;
    references[entry] = count + 1;
    allocated++;
    if (next !== 0 && cluster !== next) fragmented++;
    next = cluster + 1;
  }
  totals.allocated += allocated;
  totals.fragmented += fragmented;
  if (allocated > 0) totals.contiguous = next * 2 ** clusterBits;
  return word;
}

/** A word of the storage, which is big endian, on a machine that is not. */
export function swap(word: number): number {
  return ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}
