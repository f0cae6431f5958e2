/**
 * A number for each cluster of a file: how often it is referenced, or how often it is said to be.
 * Pages of numbers are made when one of them is set, so that the holes of a sparse file cost
 * nothing, whatever its length.
 */

const PAGE_BITS = 12;
/** Clusters of one page. */
export const PAGE_CLUSTERS = 2 ** PAGE_BITS;
const SMALL_MAX = 0xffff;

/** Numbers that fit into 16 bits, or at least one that does not. */
type Page = Uint16Array | Float64Array;

export class ClusterCounts {
  /** Clusters are numbered from 0 to one less; at most 2^31. */
  readonly clusters: number;
  readonly #pages: (Page | undefined)[];

  constructor(clusters: number) {
    this.clusters = clusters;
    this.#pages = new Array(Math.ceil(clusters / PAGE_CLUSTERS));
  }

  /** How many pages there may be; see `page`. */
  get pageCount(): number {
    return this.#pages.length;
  }

  /** The numbers from `index * PAGE_CLUSTERS` on; undefined where all are zero. */
  page(index: number): Page | undefined {
    return this.#pages[index];
  }

  get(cluster: number): number {
    const page = this.#pages[cluster >>> PAGE_BITS];
    return page === undefined ? 0 : page[cluster & (PAGE_CLUSTERS - 1)]!;
  }

  /** The sum afterwards must not be negative. Answers it. */
  add(cluster: number, count: number): number {
    const sum = this.get(cluster) + count;
    this.set(cluster, sum);
    return sum;
  }

  /** `count` is a whole number from 0 on; from 2^53 on it is rounded. */
  set(cluster: number, count: number): void {
    const index = cluster >>> PAGE_BITS;
    let page = this.#pages[index];
    if (page === undefined) {
      if (count === 0) return;
      page = new Uint16Array(PAGE_CLUSTERS);
      this.#pages[index] = page;
    }
    if (count > SMALL_MAX && page instanceof Uint16Array) {
      page = Float64Array.from(page);
      this.#pages[index] = page;
    }
    page[cluster & (PAGE_CLUSTERS - 1)] = count;
  }
}
