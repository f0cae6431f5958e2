import { expect, test } from 'vitest';
import type { BlockImage } from '../../../src/image/image.ts';
import { ImageSources } from '../../../src/service/admin/image-sources.ts';

const tablesOf = (hits: number) => ({ hits, misses: 1, evictions: 0, bytes: 10, limitBytes: 100 });

/** An image of which `reads` were asked. */
function image(name: string, reads: number, backing?: BlockImage): BlockImage {
  const counters = { read: { requests: reads } };
  const formatName = 'qcow2';
  return { name, formatName, counters, tables: tablesOf(reads), backing } as unknown as BlockImage;
}

const exportOf = (on: BlockImage, id: number) => ({ image: on, cache: { pool: { id } as never } });
const NO_BASES = { all: [], poolIdOf: () => 7 };

test('an image that two exports opened is one, of which the reads of both are counted', () => {
  const first = image('a', 1, image('base', 10));
  const second = image('b', 2, image('base', 20));
  const sources = new ImageSources([exportOf(first, 1), exportOf(second, 2)], NO_BASES);
  expect(sources.read().map(({ name, reads, poolId }) => [name, reads, poolId])).toEqual([
    ['a', 1, 1],
    ['base', 30, 7],
    ['b', 2, 2],
  ]);
});

test('what one export counted of a base stays counted when it lets go of it; what it held does not', () => {
  const first = image('a', 1, image('base', 10));
  const second = image('b', 2, image('base', 20));
  const sources = new ImageSources([exportOf(first, 1), exportOf(second, 2)], NO_BASES);
  const base = () => sources.read().find(({ name }) => name === 'base');
  const tables = { ...tablesOf(30), misses: 2 };
  expect(base()).toMatchObject({ reads: 30, tables: { ...tables, bytes: 20, limitBytes: 200 } });
  Object.assign(second, { backing: undefined });
  expect(base()).toMatchObject({ reads: 30, tables });
  Object.assign(first, { backing: undefined });
  expect(base()).toBeUndefined();
});
