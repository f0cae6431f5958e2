import { describe, expect, test } from 'vitest';
import { parseMemoryList } from '../../../src/replay/report/memory-sizes.ts';
import { replay } from '../../../src/replay/report/replay.ts';
import { OP } from '../../../src/trace/request-batch.ts';
import { mixedRequests, replayOptions, scriptedTrace } from './scripted-trace.ts';

const REQUESTS = mixedRequests(4000, 500);

/** Reads of pages 0 to `pages` - 1 in order, `rounds` times. */
function loopOf(pages: number, rounds: number) {
  return Array.from({ length: pages * rounds }, (_, at) => ({ page: at % pages }));
}

describe('a replay', () => {
  test('counts hits and misses of every policy at every size, in order', async () => {
    const options = replayOptions({
      memory: parseMemoryList('50p,100p'),
      policies: ['lru', 'belady'],
      wantsReport: false,
    });
    const { runs, report } = await replay(scriptedTrace(loopOf(100, 5)), options);
    expect(report).toBeUndefined();
    const counts = runs.map((run) => [run.policy, run.capacityPages, run.requests, run.misses]);
    expect(counts.slice(0, 2)).toEqual([
      ['lru', 50, 500, 500],
      ['lru', 100, 500, 100],
    ]);
    expect(counts[3]).toEqual(['belady', 100, 500, 100]);
    // Belady keeps a part of a loop that LRU loses all of.
    expect(runs[2]?.misses).toBeLessThan(350);
  });

  test('splits requests into pages, and takes operations as it is told', async () => {
    const requests = [
      { page: 0, pages: 4 },
      { page: 0, pages: 2, op: OP.write },
      { page: 0, pages: 4 },
      { page: 2, op: OP.trim },
    ];
    const countsOf = async (ops: 'all' | 'reads' | 'writes-invalidate') => {
      const options = replayOptions({ ops, memory: parseMemoryList('100p'), policies: ['lru'] });
      const { runs, workload } = await replay(scriptedTrace(requests), options);
      return [workload.accesses, runs[0]?.hits, runs[0]?.misses];
    };
    expect(await countsOf('all')).toEqual([10, 6, 4]);
    expect(await countsOf('reads')).toEqual([8, 4, 4]);
    expect(await countsOf('writes-invalidate')).toEqual([8, 2, 6]);
  });

  test('does not count what warms it up', async () => {
    const options = replayOptions({
      memory: parseMemoryList('100p'),
      policies: ['lru'],
      warmup: { kind: 'share', share: 0.5 },
    });
    const { runs, workload, report } = await replay(scriptedTrace(loopOf(100, 4)), options);
    expect(runs[0]).toMatchObject({ requests: 200, hits: 200, misses: 0, coldMisses: 0 });
    expect(workload.coldMissRatio).toBe(0);
    expect(report?.curves.find(({ policy }) => policy === 'lru')?.points.at(-1)?.missRatio).toBe(0);
  });

  test('of the same trace with the same options gives the same report to the byte', async () => {
    const once = async () => {
      const { report } = await replay(scriptedTrace(REQUESTS), replayOptions());
      return JSON.stringify(report);
    };
    expect(await once()).toBe(await once());
  });

  test('of a sample estimates what the whole has, within its band or near it', async () => {
    const requests = mixedRequests(30_000, 4000);
    const policies = ['lru', 's3fifo-cw'];
    const memory = parseMemoryList('20%,60%');
    const whole = await replay(
      scriptedTrace(requests),
      replayOptions({ memory, policies, wantsReport: false }),
    );
    const sampled = await replay(
      scriptedTrace(requests),
      replayOptions({ memory, policies, sampleRate: 0.5 }),
    );
    expect(sampled.workload.accesses).toBe(whole.workload.accesses);
    const footprints = sampled.workload.footprintPages / whole.workload.footprintPages;
    expect(Math.abs(footprints - 1)).toBeLessThan(0.05);
    for (const [at, run] of sampled.runs.entries()) {
      expect(Math.abs(run.missRatio - (whole.runs[at]?.missRatio ?? 2))).toBeLessThan(0.04);
      expect(run.missRatioLow).toBeLessThanOrEqual(run.missRatio);
      expect(run.missRatioHigh).toBeGreaterThanOrEqual(run.missRatio);
    }
    expect(sampled.report?.curves[0]?.found).toBe('sampled');
  });

  test('draws the floor into the report although nobody asked for belady', async () => {
    const { runs, report } = await replay(scriptedTrace(REQUESTS), replayOptions());
    expect(runs.map(({ policy }) => policy)).not.toContain('belady');
    expect(report?.curves.map(({ policy }) => policy)).toEqual(['s3fifo-cw', 'lru', 'belady']);
    for (const { pages, missRatio } of report?.curves[2]?.points ?? []) {
      const others = report?.curves
        .flatMap(({ points }) => points)
        .filter((p) => p.pages === pages);
      for (const other of others ?? []) expect(missRatio).toBeLessThanOrEqual(other.missRatio);
    }
  });

  test('of a pipe has no floor, which is said, and refuses belady', async () => {
    const pipe = () => scriptedTrace(REQUESTS, { canRereads: false });
    const { report } = await replay(pipe(), replayOptions());
    expect(report?.curves.map(({ policy }) => policy)).toEqual(['s3fifo-cw', 'lru']);
    expect(report?.trace.sha256).toBeNull();
    expect(report?.advice.notes.join()).toContain('The charts lack the floor');
    const asked = replay(pipe(), replayOptions({ policies: ['belady'] }));
    await expect(asked).rejects.toThrow(/belady.*pipe/);
  });

  test.each([
    [{ policies: ['lru', 'belady'] }, { canRereads: false }, /a pipe can be read once/],
    [{ memory: parseMemoryList('10%,1KiB') }, {}, /"1KiB" holds no page of 4096 bytes/],
    [{ memory: parseMemoryList('1MiB') }, { unit: 'keys' as const }, /objects without a size/],
    [{ engine: 'full' as const, policies: ['lru'], pageBytes: 512 }, {}, /a page has 4096 to/],
    [
      { engine: 'full' as const, policies: ['lru'], memory: parseMemoryList('80%,255p') },
      {},
      /1020KiB are too little for --engine full/,
    ],
  ])('refuses %o of %o before it reads anything', async (changed, facts, message) => {
    const trace = scriptedTrace(REQUESTS, facts);
    let isRead = false;
    trace.batches = () => {
      isRead = true;
      throw new Error('read');
    };
    await expect(replay(trace, replayOptions(changed))).rejects.toThrow(message);
    expect(isRead).toBe(false);
  });

  test.each([1, 0.5])(
    'of writes that drop pages, with a share of %f, promises no more than an endless cache hits',
    async (sampleRate) => {
      const options = {
        ops: 'writes-invalidate',
        memory: parseMemoryList('200%'),
        sampleRate,
      } as const;
      const { runs, advice, workload } = await replay(
        scriptedTrace(REQUESTS),
        replayOptions({ ...options, policies: ['lru'] }),
      );
      const [run] = runs;
      expect(run?.misses).toBeGreaterThan(run?.coldMisses ?? 0);
      expect(workload.coldMissRatio).toBeCloseTo(run?.missRatio ?? 0, 9);
      expect(advice.notes.join()).toContain('only first uses and uses right after a write miss');
    },
  );

  test('allows a cache that is larger than the footprint, and says so', async () => {
    const options = replayOptions({ memory: parseMemoryList('100000GiB') });
    const { runs, advice } = await replay(scriptedTrace(REQUESTS), options);
    expect(runs[0]?.misses).toBe(runs[0]?.coldMisses);
    expect(advice.notes.join()).toContain('larger than the footprint');
  });

  test('refuses a trace with nothing to replay', async () => {
    const writes = [{ page: 1, op: OP.write }];
    await expect(replay(scriptedTrace([]), replayOptions())).rejects.toThrow(/has no requests/);
    await expect(replay(scriptedTrace(writes), replayOptions({ ops: 'reads' }))).rejects.toThrow(
      '--ops reads leaves nothing to replay with that; try --ops all',
    );
    await expect(
      replay(scriptedTrace(writes), replayOptions({ warmup: { kind: 'accesses', accesses: 1 } })),
    ).rejects.toThrow(/leaves none to count/);
  });
});

describe('a replay through the real layers', () => {
  const full = (changed = {}) =>
    replayOptions({
      engine: 'full',
      memory: parseMemoryList('1MiB,2MiB'),
      policies: ['lru'],
      ...changed,
    });

  test('gives their hit ratio and what each tier did, above the floor of as many pages', async () => {
    const { runs, report } = await replay(scriptedTrace(loopOf(450, 4)), full());
    // 450 pages take 1.8 MiB as they are, and compressed somewhat more than half of that.
    expect(runs[1]).toMatchObject({ requests: 1800, hits: 1350, misses: 450, capacityPages: 512 });
    expect(report?.curves.map(({ policy, found }) => [policy, found])).toEqual([
      ['lru', 'simulated'],
      ['belady', 'simulated'],
    ]);
    const [lru, floor] = report?.curves ?? [];
    expect(floor?.points.map(({ pages }) => pages)).toEqual([256, 512]);
    for (const [at, { missRatio }] of (floor?.points ?? []).entries()) {
      expect(missRatio).toBeLessThanOrEqual(lru?.points[at]?.missRatio ?? 0);
    }
    // A mebibyte holds some of the loop, of which LRU hits nothing, but who knows the future does.
    expect(lru?.points[0]?.missRatio).toBe(1);
    expect(floor?.points[0]?.missRatio).toBeLessThan(0.9);
    expect(floor?.points[0]?.missRatio).toBeGreaterThan(0.25);
    expect(report?.scanDamage).toBeNull();
    const tiers = report?.tiers;
    expect(tiers).toMatchObject({
      ratioFrom: 'contents',
      contents: expect.stringMatching(/^made up/),
    });
    for (const { hotHits, compressedHits, memoryBytes } of tiers?.rows ?? []) {
      const run = runs.find(({ capacityBytes }) => capacityBytes === memoryBytes);
      expect(hotHits + compressedHits).toBeCloseTo((run?.hits ?? 0) / 1800, 9);
    }
    expect(tiers?.compressionRatio).toBeGreaterThan(1.2);
  });

  test('leaves out default sizes that are too small, and says so once', async () => {
    const memory = parseMemoryList('10%,40%,60%');
    const options = full({ memory, hasDefaultMemory: true, wantsReport: false });
    const { runs, advice } = await replay(scriptedTrace(loopOf(1000, 2)), options);
    expect(runs.map(({ capacityPages }) => capacityPages)).toEqual([400, 600]);
    expect(advice.notes.filter((note) => note.includes('left out'))).toEqual([
      'Of the default sizes 10% of the footprint is left out, since --engine full takes at least 1MiB.',
    ]);
    const asked = replay(scriptedTrace(loopOf(1000, 2)), full({ memory }));
    await expect(asked).rejects.toThrow('--memory: 400KiB are too little for --engine full');
  });

  test('where no default size is left says what to do', async () => {
    const options = full({ memory: parseMemoryList('10%,80%'), hasDefaultMemory: true });
    await expect(replay(scriptedTrace(loopOf(100, 2)), options)).rejects.toThrow(
      'script has a footprint of 400KiB, too little for the default sizes of --engine full, ' +
        'which takes at least 1MiB; give sizes, as --memory 1MiB, or replay it with --engine sizes',
    );
  });

  test('refuses what layers cannot do', async () => {
    const trace = () => scriptedTrace(loopOf(10, 2));
    await expect(replay(trace(), full({ policies: ['belady'] }))).rejects.toThrow(
      /no eviction pol/,
    );
    await expect(replay(trace(), full({ sampleRate: 0.5 }))).rejects.toThrow(/--sample is for/);
    const small = full({ memory: parseMemoryList('10p') });
    await expect(replay(trace(), small)).rejects.toThrow(/give it at least 1MiB/);
    const keys = scriptedTrace(loopOf(10, 2), { unit: 'keys' });
    await expect(replay(keys, full())).rejects.toThrow(/replay it with --engine sizes/);
  });
});
