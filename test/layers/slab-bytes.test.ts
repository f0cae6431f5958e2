import { expect, it } from 'vitest';
import { slabBytesNear } from '../../src/layers/slab-bytes.ts';
import { SLAB_COUNT_MAX } from '../../src/tmem/slabs.ts';

const KIB = 1024;
const GIB = 2 ** 30;

it.each([
  [0, 64 * KIB],
  [GIB / 2, 128 * KIB],
  [256 * GIB, 256 * KIB],
  [288 * GIB, 512 * KIB],
  [2000 * GIB, 2048 * KIB],
])('a layer of %d bytes has slabs large enough that all of them have a name', (limit, slab) => {
  expect(slabBytesNear(limit, limit / 4096, 4096)).toBe(slab);
  expect(limit / slab).toBeLessThanOrEqual(SLAB_COUNT_MAX);
});
