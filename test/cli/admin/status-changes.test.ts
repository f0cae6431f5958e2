import { expect, test } from 'vitest';
import type { ServiceStatus } from '../../../src/admin/api.ts';
import { changesBetween } from '../../../src/cli/admin/status-changes.ts';
import { exportStatus, layerStatus, serviceStatus } from '../statuses.ts';

const early = serviceStatus({
  layers: [layerStatus({ name: 'hot', hits: 10, misses: 10 })],
  exports: [exportStatus({ name: 'a', reads: { hits: 100, misses: 100 } })],
});
const late = serviceStatus({
  layers: [
    layerStatus({
      name: 'hot',
      hits: 10,
      misses: 10,
      evictions: { capacity: 95, shrink: 11, filledCap: 4 },
    }),
    layerStatus({ name: 'zcache' }),
  ],
  exports: [
    exportStatus({ name: 'a', reads: { hits: 190, misses: 110 } }),
    exportStatus({ name: 'b' }),
  ],
});

const between = (before: ServiceStatus, after: ServiceStatus, ms: number) =>
  changesBetween({ status: before, atMs: 5000 }, { status: after, atMs: 5000 + ms });

test('rates are differences by time, ratios are of the differences', () => {
  const changes = between(early, late, 500);
  expect(changes?.exports.get('a')).toEqual({ readsPerSecond: 200, hitRatio: 0.9 });
});

test('a layer that nobody asked meanwhile has no ratio; evictions of all reasons count', () => {
  const changes = between(early, late, 500);
  expect(changes?.layers.get('hot')).toEqual({ evictionsPerSecond: 20, hitRatio: undefined });
});

test('what was not there before has no changes', () => {
  const changes = between(early, late, 500);
  expect([...(changes?.exports.keys() ?? [])]).toEqual(['a']);
  expect([...(changes?.layers.keys() ?? [])]).toEqual(['hot']);
});

test('across a restart, or without time between, there is nothing to say', () => {
  expect(between({ ...early, startedAt: '2025-01-01T00:00:00Z' }, late, 500)).toBeUndefined();
  expect(between(early, late, 0)).toBeUndefined();
});
