import { expect, test } from 'vitest';
import { HeatMap } from '../../../src/replay/report/heat-map.ts';
import { MIX, RequestStatistics } from '../../../src/replay/report/request-statistics.ts';
import { COLUMNS, TimeAxis, TimeGrid } from '../../../src/replay/report/time-axis.ts';
import { VolumeStatistics } from '../../../src/replay/report/volume-statistics.ts';
import { OP, RequestBatch } from '../../../src/trace/request-batch.ts';

test('a time axis keeps every count when it folds, and at least half of its columns', () => {
  const axis = new TimeAxis();
  const grid = axis.adopt(new TimeGrid(2));
  for (let timeUs = 5000; timeUs < 105_000; timeUs += 10) grid.add(1, axis.columnOf(timeUs), 1);
  const counts = grid.row(1, axis.used);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(10_000);
  expect(axis.used).toBeGreaterThanOrEqual(COLUMNS / 2);
  expect(axis.used).toBe(Math.ceil(100_000 / axis.widthUs));
  // Within rounding, every column but the last has the same.
  expect(Math.max(...counts.slice(0, -1)) - Math.min(...counts.slice(0, -1))).toBeLessThan(2);
  expect(grid.row(0, axis.used).every((count) => count === 0)).toBe(true);
});

test('a time axis takes times before its first for the first', () => {
  const axis = new TimeAxis();
  expect(axis.columnOf(100)).toBe(0);
  expect(axis.columnOf(50)).toBe(0);
});

test('a heat map keeps every byte where it was when its rows fold', () => {
  const map = new HeatMap(4096);
  map.note(0, 0, 10);
  map.note(1, 4096 * 63, 20);
  expect(map.used).toBe(64);
  map.note(2, 4096 * 200, 30);
  expect(map.rowBytes).toBe(4096 * 4);
  expect(map.used).toBe(51);
  expect(map.row(0, 3)).toEqual([10, 0, 0]);
  expect(map.row(15, 3)).toEqual([0, 20, 0]);
  expect(map.row(50, 3)).toEqual([0, 0, 30]);
});

test('requests are sequential that go on where one of the last eight streams ended', () => {
  const volumes = new VolumeStatistics();
  volumes.meet(3);
  for (let stream = 0; stream < 8; stream++) {
    expect(volumes.continues(3, stream * 1e6, 100)).toBe(false);
  }
  for (let stream = 0; stream < 8; stream++) {
    expect(volumes.continues(3, stream * 1e6 + 100, 100)).toBe(true);
  }
  expect(volumes.continues(3, 9e6, 100)).toBe(false);
  expect(volumes.continues(3, 200, 100)).toBe(false);
  expect(volumes.continues(2, 1e6 + 200, 100)).toBe(false);
});

test('requests are counted by kind, size, volume and page', () => {
  const statistics = new RequestStatistics({ unit: 'bytes', pageBytes: 4096 });
  const batch = new RequestBatch(10);
  batch.push(0, 0, 4096, 0, OP.read, 0, 1024);
  batch.push(10, 4096, 8192, 0, OP.read, 0, 0);
  batch.push(20, 100, 4096, 1, OP.write, 0, 0);
  batch.push(30, 0, 65_536, 1, OP.trim, 0, 0);
  batch.push(40, 0, 0, 1, OP.flush, 0, 0);
  batch.push(50, 0, 512, 70, OP.zero, 0, 0);
  statistics.add(batch);
  expect(statistics.requests).toBe(6);
  expect([statistics.readPages, statistics.writePages]).toEqual([3, 3]);
  const { volumes, readSizes, writeSizes, mix, axis, heatMaps } = statistics;
  expect(volumes.get(0, 'sequentialReads')).toBe(1);
  expect(volumes.get(0, 'readBytes')).toBe(12_288);
  expect([volumes.get(1, 'trims'), volumes.get(1, 'flushes')]).toEqual([1, 1]);
  expect(volumes.get(70, 'writes')).toBe(1);
  expect([readSizes[12], readSizes[13], writeSizes[12], writeSizes[9]]).toEqual([1, 1, 1, 1]);
  expect(mix.row(MIX.reads, axis.used).reduce((sum, count) => sum + count, 0)).toBe(2);
  expect(statistics.knownBytes / statistics.knownCompressedBytes).toBe(4);
  // Volume 70 is beyond those that have a map.
  expect(heatMaps).toHaveLength(2);
});
