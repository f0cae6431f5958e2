/**
 * L2 entries as nearly all are: one cluster of data each, often the one behind that of the entry
 * before, or nothing. They are counted in one loop over typed arrays, without a call and with numbers
 * of 32 bits only, since an image has millions of them; a run of clusters in a loop of its own, the
 * less there is to do before V8 has compiled it. Whatever is out of the ordinary is left to `TableWalk`.
 */

import { type ClusterCounts, PAGE_BITS, PAGE_CLUSTERS } from './cluster-counts.ts';
import type { TableTotals } from './tables.ts';

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
 * Counts entries of 8 bytes from the word `first` on, each referred to once and by the active disk:
 * the lower word, then the higher, signed, since before a loop is compiled every larger number is an
 * object. Answers where it stopped: at an entry to be looked at closely, or at `end`.
 */
export function countPlain(
  words: Int32Array,
  first: number,
  end: number,
  { marks, stored, clusters, clusterBits }: PlainParts,
  totals: TableTotals,
): number {
  const shift = 32 - clusterBits;
  const step = 2 ** clusterBits;
  // Flags, and what is not the beginning of a cluster that a file may have.
  const unusualHigh = 0x7fff_ffff - (step / 2 - 1);
  const unusualLow = step - 1;
  const behind = totals.contiguous / step;
  // No cluster is there where the one before is not at the beginning of one.
  let next = Number.isInteger(behind) && behind <= clusters ? behind | 0 : -1;
  let allocated = 0;
  let fragmented = 0;
  let page = -1;
  let references: Uint16Array | undefined;
  let kept: Uint16Array | undefined;
  let word = first;
  while (word < end) {
    let low = words[word]!;
    const high = words[word + 1]!;
    if ((high | low) === 0) {
      word += 2;
      continue;
    }
    if (((high & unusualHigh) | (low & unusualLow)) !== 0) break;
    const cluster = (high << shift) | (low >>> clusterBits);
    if (cluster === 0 || cluster >= clusters) break;
    if (cluster >>> PAGE_BITS !== page) {
      page = cluster >>> PAGE_BITS;
      kept = stored.smallPage(page);
      if (kept !== undefined) marks.makePage(page);
      references = marks.smallPage(page);
    }
    if (references === undefined || kept === undefined) break;
    // The sign is the flag of a cluster with one reference.
    const isOne = high < 0;
    const begin = cluster & (PAGE_CLUSTERS - 1);
    const room = Math.min(clusters - cluster, PAGE_CLUSTERS - begin, (end - word) >>> 1);
    let entry = begin;
    do {
      const count = references[entry]!;
      if ((kept[entry] === 1) !== isOne || count === SMALL_MAX) break;
      references[entry++] = count + 1;
      word += 2;
      low = (low + step) | 0;
      // At every 4 GiB the higher word is another: of clusters of 2 MiB that is amid a page.
    } while (entry < begin + room && low !== 0 && words[word] === low && words[word + 1] === high);
    if (entry === begin) break;
    allocated += entry - begin;
    if (next !== 0 && cluster !== next) fragmented++;
    next = cluster + entry - begin;
  }
  totals.allocated += allocated;
  totals.fragmented += fragmented;
  if (allocated > 0) totals.contiguous = next * step;
  return word;
}
