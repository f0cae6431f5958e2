/**
 * Five streams of keys made by a small generator, and the misses that they must give: counts on
 * which independent implementations of the policies agree.
 */

/** Capacities, in pages, of the counts below. */
export const CAPACITIES = [250, 500, 1000, 2500] as const;

export type StreamName = 'loop-1000' | 'uniform-10k' | 'skewed-20k' | 'skewed-scan' | 'phases';

type Counts = readonly [number, number, number, number];

/** Misses at each capacity; `t1` and `t2` are S3-FIFO promoting at one and at two hits. */
export const MISSES: Record<StreamName, { lru: Counts; t1: Counts; t2: Counts }> = {
  'loop-1000': {
    lru: [20000, 20000, 1000, 1000],
    t1: [20000, 20000, 1000, 1000],
    t2: [20000, 20000, 1000, 1000],
  },
  'uniform-10k': {
    lru: [195012, 190014, 180115, 150552],
    t1: [194992, 189974, 179906, 150575],
    t2: [194964, 189946, 179913, 150432],
  },
  'skewed-20k': {
    lru: [177409, 167865, 154543, 128036],
    t1: [158998, 148676, 135565, 112464],
    t2: [159054, 148738, 135543, 112526],
  },
  'skewed-scan': {
    lru: [211454, 200047, 185002, 162215],
    t1: [195114, 183710, 168932, 140708],
    t2: [195052, 183670, 168791, 141262],
  },
  phases: {
    lru: [181204, 167620, 145483, 96193],
    t1: [171089, 158728, 140672, 100842],
    t2: [171393, 159129, 141173, 101873],
  },
};

/** The uniform numbers in [0, 1) of xorshift32. */
function xorshift(seed: number): () => number {
  let x = seed >>> 0;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x / 0x1_0000_0000;
  };
}

/** Builds a stream of keys. */
export function stream(name: StreamName): Uint32Array {
  switch (name) {
    case 'loop-1000':
      return Uint32Array.from({ length: 20_000 }, (_, i) => i % 1000);
    case 'uniform-10k': {
      const next = xorshift(1);
      return Uint32Array.from({ length: 200_000 }, () => 10_000 * next());
    }
    case 'skewed-20k': {
      const next = xorshift(2);
      return Uint32Array.from({ length: 200_000 }, () => 20_000 * cube(next()));
    }
    case 'skewed-scan': {
      const next = xorshift(3);
      let fresh = 1_000_000;
      return Uint32Array.from({ length: 240_000 }, (_, i) =>
        i % 12_000 < 8000 ? 8000 * cube(next()) : fresh++,
      );
    }
    case 'phases': {
      const next = xorshift(4);
      return Uint32Array.from({ length: 200_000 }, (_, i) => {
        const u = next();
        return Math.floor(i / 20_000) * 3000 + Math.floor(6000 * u * u);
      });
    }
  }
}

function cube(u: number): number {
  return u * u * u;
}
