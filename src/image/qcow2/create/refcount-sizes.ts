/** How much room refcounts need. */

/**
 * Refcount blocks and table clusters for `others` clusters and for themselves: each may take one more
 * than the last guess, so that a few rounds find the number.
 */
export function refcountsFor(
  others: number,
  clusterBytes: number,
  refcountBits: number,
): { blocks: number; refcountTableClusters: number } {
  const blockEntries = (clusterBytes * 8) / refcountBits;
  let blocks = 0;
  let refcountTableClusters = 0;
  for (;;) {
    const clusters = others + blocks + refcountTableClusters;
    const needed = Math.ceil(clusters / blockEntries);
    const tableClusters = Math.ceil((needed * 8) / clusterBytes);
    if (needed === blocks && tableClusters === refcountTableClusters) break;
    blocks = needed;
    refcountTableClusters = tableClusters;
  }
  return { blocks, refcountTableClusters };
}
