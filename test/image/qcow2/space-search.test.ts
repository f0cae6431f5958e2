import { expect, it } from 'vitest';
import { ClusterAllocator } from '../../../src/image/qcow2/space/cluster-allocator.ts';
import { MetadataMap } from '../../../src/image/qcow2/space/metadata-map.ts';
import { Refcounts } from '../../../src/image/qcow2/space/refcounts.ts';
import { geometryOf } from '../../../src/image/qcow2/structures/geometry.ts';
import { readHeader } from '../../../src/image/qcow2/structures/header.ts';
import { PinnedTable } from '../../../src/image/qcow2/structures/pinned-table.ts';
import { TmemError } from '../../../src/lib/errors.ts';
import { gatedImage } from './gated.ts';
import { KIB, openOn } from './images.ts';

const CLUSTER = 512;
/** Clusters that a slice counts, and slices in memory at once. */
const SLICE_COUNTS = 64;
const SLICES = 8;
const WRITTEN = 1024 * KIB;

/** An allocator of an image that is half full, with memory for a few slices of counts. */
async function smallAllocator() {
  const settings = { cluster_size: `${CLUSTER}`, refcount_bits: '64' };
  const storage = await gatedImage(2 * WRITTEN, settings);
  storage.close = async () => {};
  const image = await openOn(storage);
  await image.write(Buffer.alloc(WRITTEN, 1), 0, WRITTEN, 0);
  await image.discard(100 * CLUSTER, CLUSTER);
  await image.close();

  const header = await readHeader(storage);
  const tableEntries = (header.refcountTableClusters * CLUSTER) / 8;
  const refcounts = new Refcounts({
    name: storage.name,
    storage,
    geometry: geometryOf(header),
    table: await PinnedTable.read(storage, header.refcountTableOffset, tableEntries),
    limitBytes: SLICES * CLUSTER,
  });
  const allocator = new ClusterAllocator({
    ...{ name: storage.name, clusterBytes: CLUSTER, refcounts },
    metadata: new MetadataMap(CLUSTER),
    storedClusters: Math.ceil(storage.sizeBytes / CLUSTER),
    grow: () => Promise.reject(new Error('there is room')),
    onDamage: () => {},
  });
  const { read } = storage;
  let reads = 0;
  storage.read = async (...range) => {
    if (++reads > (3 * storage.sizeBytes) / CLUSTER / SLICE_COUNTS) {
      throw new TmemError('io', 'counts are read over and over');
    }
    await new Promise((resolve) => setImmediate(resolve)); // as a disk takes a while
    await read.apply(storage, range);
  };
  return { allocator, refcounts, storage };
}

it.each([
  ['more counts than memory has', 0],
  ['more counts that changed than memory has', 2 * SLICES],
])('space for a long table is found behind a gap and %s', async (_what, changed) => {
  const { allocator, refcounts } = await smallAllocator();
  for (let slice = 0; slice < changed; slice++) {
    await refcounts.load(slice * SLICE_COUNTS);
    refcounts.set(slice * SLICE_COUNTS, 1);
  }
  const run = await allocator.takeExactly(2 * SLICE_COUNTS);
  expect(run.first * CLUSTER).toBeGreaterThan(WRITTEN);
  expect(run.count).toBe(2 * SLICE_COUNTS);
  expect(await allocator.take(1)).toMatchObject({ count: 1 });
});

it('space is counted as free though counts that changed before cannot be written', async () => {
  const { refcounts, storage } = await smallAllocator();
  storage.write = () => Promise.reject(new TmemError('io', 'a bad disk'));
  for (let slice = 0; slice < 2 * SLICES; slice++) {
    expect(await refcounts.decrement(slice * SLICE_COUNTS + 1), `slice ${slice}`).toBe(0);
  }
  // Who wants several at once hears of it, and does not read them over and over.
  await expect(refcounts.load(2 * SLICES * SLICE_COUNTS)).rejects.toThrow('a bad disk');
});

it('a small image grows though the counts of its new table are more than those of its file', async () => {
  const storage = await gatedImage(2 * WRITTEN, { cluster_size: `${CLUSTER}` });
  const image = await openOn(storage);
  const { read } = storage;
  let reads = 0;
  storage.read = async (...range) => {
    if (++reads > 500) throw new TmemError('io', 'counts are read over and over');
    await new Promise((resolve) => setImmediate(resolve)); // as a disk takes a while
    await read.apply(storage, range);
  };
  const sizeBytes = 64 * 1024 * 1024 * KIB;
  await image.resize(sizeBytes);
  expect(image.virtualSizeBytes).toBe(sizeBytes);
  await image.close();
});
