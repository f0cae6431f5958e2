/** Streams of page numbers of known shape: loops, skew, scans, phases; the same in every run. */

/** Pages numbered in the order of their first use. */
export interface Stream {
  readonly name: string;
  readonly ids: Int32Array;
  readonly pageCount: number;
}

/** xorshift32, as numbers from 0 to 1. */
function xorshift(seed: number): () => number {
  let x = seed;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x / 2 ** 32;
  };
}

function streamOf(name: string, keys: Iterable<number>): Stream {
  const numbers = new Map<number, number>();
  const ids: number[] = [];
  for (const key of keys) {
    const id = numbers.get(key) ?? numbers.size;
    numbers.set(key, id);
    ids.push(id);
  }
  return { name, ids: Int32Array.from(ids), pageCount: numbers.size };
}

function* loop(): Generator<number> {
  for (let round = 0; round < 20; round++) for (let key = 0; key < 1000; key++) yield key;
}

function* drawn(seed: number, count: number, keyOf: (u: number) => number): Generator<number> {
  const next = xorshift(seed);
  for (let at = 0; at < count; at++) yield keyOf(next());
}

function* skewedScan(): Generator<number> {
  const next = xorshift(3);
  let fresh = 1_000_000;
  for (let round = 0; round < 20; round++) {
    for (let at = 0; at < 8000; at++) yield Math.floor(8000 * next() ** 3);
    for (let at = 0; at < 4000; at++) yield fresh++;
  }
}

function* phases(): Generator<number> {
  const next = xorshift(4);
  for (let phase = 0; phase < 10; phase++) {
    for (let at = 0; at < 20_000; at++) yield phase * 3000 + Math.floor(6000 * next() ** 2);
  }
}

export const loop1000 = (): Stream => streamOf('loop-1000', loop());

/** Five streams of 20,000 to 240,000 references to 1,000 to 88,000 pages. */
export const synthetics = (): Stream[] => [
  loop1000(),
  streamOf(
    'uniform-10k',
    drawn(1, 200_000, (u) => Math.floor(10_000 * u)),
  ),
  streamOf(
    'skewed-20k',
    drawn(2, 200_000, (u) => Math.floor(20_000 * u * u * u)),
  ),
  streamOf('skewed-scan', skewedScan()),
  streamOf('phases', phases()),
];
