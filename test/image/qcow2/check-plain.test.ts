import { expect, it } from 'vitest';
import { ClusterCounts } from '../../../src/image/qcow2/check/cluster-counts.ts';
import { countPlain } from '../../../src/image/qcow2/check/plain.ts';
import { fc } from '../../tools/seed.ts';

const CLUSTER_BITS = 16;
const CLUSTERS = 10_000;
const COPIED = 1n << 63n;
const MASK = (1n << 56n) - 1n;

/** Entries of a table: clusters in a row, anywhere and behind the end, nothing, and unusual ones. */
const entry = fc.oneof(
  { weight: 6, arbitrary: fc.constant('next' as const) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: CLUSTERS + 1 }) },
  { weight: 3, arbitrary: fc.constant(0n) },
  fc.constantFrom(1n, 1n << 62n, 512n, 1n << 56n, 2n ** 55n, 2n ** 47n, COPIED),
);

function encode(entries: readonly (number | bigint | 'next')[]): bigint[] {
  let last = 0;
  return entries.map((each) => {
    if (typeof each === 'bigint') return each;
    last = each === 'next' ? last + 1 : each;
    return COPIED | (BigInt(last) << BigInt(CLUSTER_BITS));
  });
}

/** What is ordinary, and what it comes to, by the numbers as they are. */
function model(entries: readonly bigint[], stored: ClusterCounts) {
  const references = new Map<number, number>();
  let [allocated, fragmented, next, index] = [0, 0, 0, 0];
  for (; index < entries.length; index++) {
    const value = entries[index] ?? 0n;
    if (value === 0n) continue;
    const offset = Number(value & MASK);
    const cluster = offset / 2 ** CLUSTER_BITS;
    const isCopied = value >= COPIED;
    const isFlagged = (value & ~MASK & ~COPIED) !== 0n;
    const isThere = cluster > 0 && cluster < CLUSTERS;
    if (isFlagged || !isThere || !Number.isInteger(cluster)) break;
    const kept = stored.get(cluster);
    if (stored.page(cluster >> 12) === undefined || isCopied !== (kept === 1)) break;
    references.set(cluster, (references.get(cluster) ?? 0) + 1);
    allocated++;
    if (next !== 0 && next !== cluster) fragmented++;
    next = cluster + 1;
  }
  return { index, references, allocated, fragmented, contiguous: next * 2 ** CLUSTER_BITS };
}

it('ordinary entries are counted up to the first that is not', () => {
  const counts = fc.array(fc.record({ first: fc.nat(CLUSTERS), count: fc.nat(3) }));
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 60 }), counts, (entries, others) => {
      const stored = new ClusterCounts(CLUSTERS + 1);
      // None of the last page, as where a block is missing.
      for (let cluster = 0; cluster < 8192; cluster++) stored.set(cluster, 1);
      for (const { first, count } of others) stored.set(first, count);
      const encoded = encode(entries);
      const bytes = Buffer.alloc(8 + encoded.length * 8);
      encoded.forEach((value, index) => {
        bytes.writeBigUInt64LE(value, 8 + index * 8);
      });
      const words = new Int32Array(new Uint8Array(bytes).buffer);
      const marks = new ClusterCounts(CLUSTERS + 1);
      const totals = { allocated: 0, compressed: 0, fragmented: 0, contiguous: 0 };
      const parts = { marks, stored, clusters: CLUSTERS, clusterBits: CLUSTER_BITS };
      const stopped = countPlain(words, 2, words.length, parts, totals);
      const { index, references, ...expected } = model(encoded, stored);
      expect(stopped).toBe(2 + index * 2);
      expect(totals).toEqual({ compressed: 0, ...expected });
      for (let cluster = 0; cluster <= CLUSTERS; cluster++) {
        if (marks.get(cluster) !== (references.get(cluster) ?? 0)) {
          expect([cluster, marks.get(cluster)]).toEqual([cluster, references.get(cluster) ?? 0]);
        }
      }
    }),
    { numRuns: 300 },
  );
});

it('a cluster that follows one counted otherwise is not fragmented', () => {
  const stored = new ClusterCounts(10);
  for (let cluster = 0; cluster < 10; cluster++) stored.set(cluster, 1);
  const words = new Int32Array([0x5_0000, -0x8000_0000]);
  const fragmentedAfter = (contiguous: number) => {
    const totals = { allocated: 0, compressed: 0, fragmented: 0, contiguous };
    const parts = { marks: new ClusterCounts(10), stored, clusters: 10, clusterBits: CLUSTER_BITS };
    countPlain(words, 0, 2, parts, totals);
    return totals.fragmented;
  };
  expect(fragmentedAfter(5 * 65536)).toBe(0);
  expect(fragmentedAfter(4 * 65536)).toBe(1);
  expect(fragmentedAfter(5 * 65536 + 512)).toBe(1);
  expect(fragmentedAfter((2 ** 32 + 5) * 65536)).toBe(1);
});

it('a run ends where the lower word begins anew', () => {
  const [clusters, clusterBits] = [8192, 21];
  const stored = new ClusterCounts(clusters);
  for (let cluster = 0; cluster < clusters; cluster++) stored.set(cluster, 1);
  const entries = [6142, 6143, 4096, 4095].map((cluster) => COPIED | (BigInt(cluster) << 21n));
  const words = new Int32Array(new BigUint64Array(entries).buffer);
  const marks = new ClusterCounts(clusters);
  const totals = { allocated: 0, compressed: 0, fragmented: 0, contiguous: 0 };
  expect(countPlain(words, 0, 8, { marks, stored, clusters, clusterBits }, totals)).toBe(8);
  expect([4095, 4096, 6143, 6144].map((cluster) => marks.get(cluster))).toEqual([1, 1, 1, 0]);
  expect(totals).toMatchObject({ allocated: 4, fragmented: 2, contiguous: 4096 * 2 ** 21 });
});
