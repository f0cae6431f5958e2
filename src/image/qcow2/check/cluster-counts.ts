/**
 * A number for each cluster of a file: how often it is referenced, or how often it is said to be.
 * Pages of numbers are made when one of them is set, so that the holes of a sparse file cost
 * nothing, whatever its length.
 */

/** Of the number of a cluster in its page. */
export const PAGE_BITS = 12;
/** Clusters of one page. */
export const PAGE_CLUSTERS = 2 ** PAGE_BITS;
const SMALL_MAX = 0xffff;

/** Numbers that fit into 16 bits, or at least one that does not. */
export type ClusterPage = Uint16Array | Float64Array;

export class ClusterCounts {
  /** Clusters are numbered from 0 to one less; at most 2^31. */
  readonly clusters: number;
  readonly #pages: (ClusterPage | undefined)[];

  constructor(clusters: number) {
    this.clusters = clusters;
    this.#pages = new Array(Math.ceil(clusters / PAGE_CLUSTERS));
  }

  /** How many pages there may be; see `page`. */
  get pageCount(): number {
    return this.#pages.length;
  }

  /** The numbers from `index * PAGE_CLUSTERS` on; undefined where all are zero. */
  page(index: number): ClusterPage | undefined {
    return this.#pages[index];
  }

  /** The same, where there is one and all of its numbers fit into 16 bits. */
  smallPage(index: number): Uint16Array | undefined {
    const page = this.#pages[index];
    return page instanceof Uint16Array ? page : undefined;
  }

  /** The page `index`, which is made where there is none. */
  makePage(index: number): ClusterPage {
    const made = this.#pages[index] ?? new Uint16Array(PAGE_CLUSTERS);
    this.#pages[index] = made;
    return made;
  }

  /** Sets the numbers of the page `index`, of which none was set before, and takes over `page`. */
  setPage(index: number, page: Uint16Array): void {
    this.#pages[index] = page;
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
      page = this.makePage(index);
    }
    if (count > SMALL_MAX && page instanceof Uint16Array) {
      page = Float64Array.from(page);
      this.#pages[index] = page;
    }
    page[cluster & (PAGE_CLUSTERS - 1)] = count;
  }
}
