import { expect, test } from 'vitest';
import { parseMemoryList } from '../../../src/replay/report/memory-sizes.ts';
import { replay } from '../../../src/replay/report/replay.ts';
import { OP } from '../../../src/trace/request-batch.ts';
import { replayOptions, type ScriptedRequest, scriptedTrace } from './scripted-trace.ts';

/** Page 0 of `quiet` and pages 0 to 9 of `busy` over and over; a second from round to round. */
const REQUESTS = Array.from({ length: 20 }, (_, round): ScriptedRequest[] => {
  const timeUs = round * 1e6;
  return [
    { page: 0, op: OP.write, contentBytes: 1024, timeUs },
    { page: 0, pages: 10, volume: 1, timeUs },
    { page: 0, volume: 1, op: OP.flush, pages: 0, timeUs },
  ];
}).flat();

async function someReport() {
  const trace = scriptedTrace(REQUESTS, { volumes: ['quiet', 'busy', 'unused'] });
  const options = replayOptions({ memory: parseMemoryList('5p,50p'), policies: ['lru'] });
  const { report } = await replay(trace, options);
  if (report === undefined) throw new Error('no report');
  return report;
}

test('each volume has its requests, footprint and hits; the busiest is first', async () => {
  const { volumes, advice } = await someReport();
  expect(advice.capacityPages).toBe(50);
  expect(volumes).toMatchObject([
    { name: 'busy', reads: 20, writes: 0, footprintPages: 10, accesses: 200, hitRatio: 0.95 },
    { name: 'quiet', reads: 0, writes: 20, footprintPages: 1, accesses: 20, hitRatio: 0.95 },
  ]);
});

test('the workload is counted whole, and what the trace says of compression is used', async () => {
  const { workload, tiers, sizes } = await someReport();
  expect(workload).toMatchObject({
    ...{ requests: 60, accesses: 220, reads: 20, writes: 20, flushes: 20, footprintPages: 11 },
    ...{ readBytes: 20 * 40_960, writeBytes: 20 * 4096, compressionRatio: 4 },
    coldMissRatio: 11 / 220,
  });
  expect(tiers).toMatchObject({ ratioFrom: 'trace', compressionRatio: 4 });
  expect(sizes[0]).toEqual({ bytesMax: 4096, reads: 0, writes: 20 });
  expect(sizes.at(-1)).toEqual({ bytesMax: 65_536, reads: 20, writes: 0 });
});

test('the sizes of objects say nothing of how well they compress', async () => {
  const trace = scriptedTrace(REQUESTS, { unit: 'keys', volumes: ['quiet', 'busy', 'unused'] });
  const options = replayOptions({ memory: parseMemoryList('5p,50p'), policies: ['lru'] });
  const { report } = await replay(trace, options);
  expect(report?.workload).toMatchObject({ requests: 60, compressionRatio: null });
});

test('hits over time begin with first uses, and reach the ceiling where all fits', async () => {
  const { overTime } = await someReport();
  const [lru] = overTime.policies;
  expect(overTime.starts.length).toBe(50);
  expect(overTime.starts.at(-1)?.access).toBe(215);
  expect(overTime.starts.at(-1)?.seconds).toBe(19);
  expect(lru?.hitRatios[0]).toBe(0);
  for (const [at, cold] of overTime.coldMissRatios.entries()) {
    expect((lru?.hitRatios[at] ?? 0) + (cold ?? 0)).toBeCloseTo(1, 12);
  }
});

test('kinds of requests and addresses are counted where and when they were', async () => {
  const { mix, heatMaps } = await someReport();
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  expect([sum(mix.reads), sum(mix.writes), sum(mix.sequential)]).toEqual([20, 20, 0]);
  expect(heatMaps.map(({ volume }) => volume)).toEqual(['busy', 'quiet']);
  expect(sum(heatMaps[0]?.rows.flat() ?? [])).toBe(20 * 40_960);
  // One second in about so many columns.
  const columns = heatMaps[0]?.rows[0]?.findLastIndex((bytes) => bytes > 0) ?? 0;
  expect(columns * mix.columnWidth).toBeLessThanOrEqual(19);
  expect((columns + 1) * mix.columnWidth).toBeGreaterThan(19);
});
