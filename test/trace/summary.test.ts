import { describe, expect, it } from 'vitest';
import { clockWarning } from '../../src/trace/clock-check.ts';
import { type Cut, cutBatches } from '../../src/trace/cut.ts';
import { DistinctEstimate } from '../../src/trace/distinct.ts';
import { MergedTraces } from '../../src/trace/merge-traces.ts';
import { NameTable } from '../../src/trace/name-table.ts';
import { openTrace } from '../../src/trace/open-trace.ts';
import { OP } from '../../src/trace/request-batch.ts';
import { TraceSummary } from '../../src/trace/summary.ts';
import { plainRequests } from './parsing.ts';
import { readAll, writeFiles } from './written.ts';

const LINES = Array.from({ length: 100 }, (_, index) => {
  const op = ['read', 'write', 'trim', 'flush'][index % 4];
  return `${1000 + index * 1e6},v${index % 3},${op},${(index % 10) * 4096},8192`;
});
const CSV = ['time_us,volume,op,offset,length', ...LINES, ''].join('\n');

async function cutIndexes(cut: Cut): Promise<number[]> {
  const trace = await openTrace(writeFiles(['x.csv', CSV]));
  const indexes: number[] = [];
  for await (const batch of cutBatches(trace, cut)) {
    indexes.push(...batch.timeUs.subarray(0, batch.count).map((time) => (time - 1000) / 1e6));
  }
  return indexes;
}

function range(from: number, until: number, step = 1): number[] {
  return Array.from(
    { length: Math.ceil((until - from) / step) },
    (_, index) => from + index * step,
  );
}

describe('a cut', () => {
  it('keeps a span of time, without its end', async () => {
    expect(await cutIndexes({ fromUs: 10e6, untilUs: 20e6 })).toEqual(range(10, 20));
  });

  it('keeps a number of requests behind others', async () => {
    expect(await cutIndexes({ skip: 5, requestsMax: 7 })).toEqual(range(5, 12));
  });

  it('keeps volumes and operations, and counts those alone', async () => {
    const cut = { volumes: new Set(['v0']), ops: new Set([OP.read]), requestsMax: 3 };
    expect(await cutIndexes(cut)).toEqual([0, 12, 24]);
  });

  it('keeps parts of requests when it samples', async () => {
    const trace = await openTrace(writeFiles(['x.csv', CSV]));
    let bytes = 0;
    for await (const batch of cutBatches(trace, { sampleRate: 0.5 })) {
      for (const { length, op } of plainRequests(batch, trace.volumes)) {
        if (op !== 'flush') expect(length === 4096 || length === 8192).toBe(true);
        bytes += length;
      }
    }
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThan(100 * 8192);
  });
});

describe('a summary', () => {
  it('adds up operations, volumes and pages', async () => {
    const trace = await openTrace(writeFiles(['x.csv', CSV]));
    const summary = new TraceSummary();
    for await (const batch of trace.batches()) summary.add(batch, trace.unit);
    expect(summary.ops.map(({ requests }) => requests)).toEqual([25, 25, 25, 25, 0]);
    expect(summary.volumes.map(({ requests }) => requests)).toEqual([34, 33, 33]);
    expect(summary.volumes[0]?.endBytes).toBe(11 * 4096);
    expect(summary.pageAccesses).toBe(100);
    // Even and odd starts of reads and writes come to eleven pages on three volumes.
    const pages = LINES.map((line) => line.split(',')).flatMap(([, volume, op, offset]) =>
      op === 'read' || op === 'write'
        ? [`${volume} ${offset}`, `${volume} ${Number(offset) + 4096}`]
        : [],
    );
    expect(summary.distinctPages.estimate).toBe(new Set(pages).size);
    expect(summary.alignedRequests).toBe(100);
  });

  it('counts distinct pages exactly at first, then to about a per cent', () => {
    const estimate = new DistinctEstimate();
    for (let index = 0; index < 100_000; index++) estimate.add(index % 2, index % 50_000);
    expect([estimate.isExact, estimate.estimate]).toEqual([true, 50_000]);
    for (let index = 0; index < 1_000_000; index++) estimate.add(7, index * 3);
    expect(estimate.isExact).toBe(false);
    expect(Math.abs(estimate.estimate / 1_050_000 - 1)).toBeLessThan(0.02);
  });
});

describe('merging traces', () => {
  const one = 'time_us,volume,op,offset,length\n1000,v,read,0,512\n3000,v,read,512,512\n';
  const other = '5,R,0,512,9002000\n5,R,512,512,9004000\n';
  const merge = async (isAligned: boolean, isPrefixed: boolean) => {
    const paths = writeFiles(['one.csv', one], ['other', other]);
    const traces = [];
    for (const path of paths) traces.push(await openTrace([path]));
    const merged = new MergedTraces(traces, { isAligned, isPrefixed });
    const requests = [];
    for await (const batch of merged.batches()) {
      requests.push(...plainRequests(batch, merged.volumes));
    }
    return requests.map(({ timeUs, volume }) => [timeUs, volume]);
  };

  it('takes different formats, by their times', async () => {
    expect(await merge(false, false)).toEqual([
      [1000, 'v'],
      [3000, 'v'],
      [9002000, '5'],
      [9004000, '5'],
    ]);
  });

  it('has them begin together, and their volumes told apart, when asked to', async () => {
    expect(await merge(true, true)).toEqual([
      [0, 'one.csv:v'],
      [0, 'other:5'],
      [2000, 'one.csv:v'],
      [2000, 'other:5'],
    ]);
  });

  it('refuses what has no times', async () => {
    const [keys = ''] = writeFiles(['keys', '1\n2\n']);
    const trace = await openTrace([keys]);
    const options = { isAligned: false, isPrefixed: false };
    expect(() => new MergedTraces([trace, trace], options)).toThrow(/keys has no times/);
    expect(await readAll(trace)).toHaveLength(2);
  });
});

describe('the check of times', () => {
  it.each([
    ['an hour', 1e6, 3600e6, undefined],
    ['few requests', 10, 1e15, undefined],
    ['a day at one a minute', 1440, 86_400e6, /smaller unit/],
    ['three years', 1e9, 3 * 366 * 86_400e6, /smaller unit/],
    ['a millisecond', 1e6, 1000, /larger unit/],
    ['backwards', 2, -5, /is 0\.00500 ms before the first: the times run backwards/],
  ])('for %s', (_, requests, spanUs, sentence) => {
    const warning = clockWarning(requests, 5e9, 5e9 + spanUs);
    if (sentence === undefined) expect(warning).toBeUndefined();
    else expect(warning).toMatch(sentence);
  });
});

describe('a table of names', () => {
  it('numbers them in the order of their first use', () => {
    const table = new NameTable();
    const names = Array.from({ length: 5000 }, (_, index) => `disk-${(index * 7919) % 3000}`);
    const order = [...new Set(names)];
    for (const name of names) {
      const bytes = Buffer.from(`<${name}>`);
      expect(table.numberOf(bytes, 1, bytes.length - 1)).toBe(order.indexOf(name));
    }
    expect(table.count).toBe(3000);
    expect(table.bytesOf(2999).toString()).toBe(order[2999]);
  });
});
