/** What the governor governs: the layers of one stack, seen as one amount of memory. */
export interface Reclaimable {
  /** Data and metadata of all layers, bytes. Cheap: it is asked before and after every step. */
  readonly usedBytes: number;
  /** The most they may come to, bytes. */
  readonly limitBytes: number;
  /**
   * Changes that limit. It evicts nothing and never throws; from then on a put stays below the new
   * limit, or makes room in bounded steps.
   */
  setLimit(bytes: number): void;
  /**
   * Gives about `bytes` back, at once, and answers how much it was. For 256 KiB it must take well
   * under 2 ms. It may answer 0 for some calls in a row while it prepares, and for good when all
   * that is left is persistent. What is given back should leave the process soon: memory that
   * only the garbage collector returns looks like pressure that lasts, and more is taken for it.
   */
  shrink(bytes: number): number;
  /**
   * Takes pages from whoever has more than its cap allows, at most so many; answers how many. For
   * 64 pages it must take well under 2 ms.
   */
  trimToCaps(pagesMax: number): number;
  /**
   * Hears that `bytes` more than can be given back should be: dirty pages that are written to disk
   * become clean and can go. It returns at once and may be asked again and again.
   */
  requestWriteBack?(bytes: number): void;
  /**
   * Hears at every look, and when a cap was lowered, that `trimToCaps` can take no more: whoever has
   * more than its share in pages that must be written first may begin. It returns at once.
   */
  requestFit?(): void;
}
