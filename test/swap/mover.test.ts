import { expect, it } from 'vitest';
import { alignedBuffer } from '../../src/lib/aligned-buffer.ts';
import type { Appender } from '../../src/swap/appender.ts';
import { Cleaner } from '../../src/swap/cleaner.ts';
import { geometryFor } from '../../src/swap/geometry.ts';
import { RecordStore } from '../../src/swap/record-store.ts';
import { RAW } from '../../src/tmem/layer.ts';
import { FaultyStorage } from '../storage/faulty-storage.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';
import { pageOf } from '../tmem/page-content.ts';
import { PAGE_BYTES, SMALL_FILE_BYTES } from './overflow-fixture.ts';

/** Pages that fill a segment. */
const FULL = 15;

/** A store and its cleaner, with a mover that has filled both of its buffers. */
async function makeBusyMover() {
  const geometry = geometryFor(SMALL_FILE_BYTES, PAGE_BYTES);
  const { segmentBytes } = geometry;
  const file = Buffer.alloc(SMALL_FILE_BYTES);
  const medium = new FaultyStorage(new MemoryStorage(file, { name: 'overflow' }));
  const memory = alignedBuffer(5 * segmentBytes);
  const appended = memory.subarray(0, 4 * segmentBytes);
  const store = new RecordStore(200, geometry, Buffer.alloc(16, 7), medium, appended);
  const cleaner = new Cleaner(store, memory.subarray(4 * segmentBytes));
  const fill = (appender: Appender, first: number, count: number) => {
    appender.seal();
    appender.open(store.table.take());
    for (let page = first; page < first + count; page++) {
      store.put(appender, page, RAW, pageOf(PAGE_BYTES, 'random', page), 0, PAGE_BYTES);
    }
    expect(appender.hasRoom).toBe(false);
  };
  fill(store.guest, 0, FULL);
  fill(store.guest, 50, FULL);
  await store.guest.settle();
  const hold = medium.holdNext('write');
  fill(store.mover, 100, FULL);
  fill(store.mover, 150, FULL);
  while (store.table.freeCount > 2) store.table.take();
  return { store, cleaner, hold };
}

it('what is dropped while the cleaner waits for its buffers is not moved, and is no damage', async () => {
  const { store, cleaner, hold } = await makeBusyMover();
  const victim = store.segmentOf(store.map.location(0));
  for (let page = 3; page < FULL; page++) store.drop(page);
  for (let page = 50; page < 61; page++) store.drop(page);
  const room = cleaner.makeRoom();
  for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
  expect(store.table.live(victim)).toBeGreaterThan(0); // it waits
  store.fill(0, 7);
  store.drop(1);
  hold.release();
  await room;
  expect([store.map.isFilled(0), store.map.isHole(1), store.map.hasRecord(2)]).toEqual([
    true,
    true,
    true,
  ]);
  expect(store.segmentOf(store.map.location(2))).not.toBe(victim);
  expect(store.statistics).toMatchObject({
    cleanedRecords: 5,
    cleanedSegments: 2,
    cleanFailures: 0,
    checksumFailures: 0,
  });
});

it('who finds nothing to clean is not told that it is full when there is room by then', async () => {
  const { store, cleaner } = await makeBusyMover();
  const room = cleaner.makeRoom();
  for (let page = 0; page < FULL; page++) store.drop(page);
  store.guest.seal();
  store.guest.open(store.table.take()); // as another writer does
  expect(store.table.freeCount).toBe(2);
  await room;
});
