import { describe, expect, it } from 'vitest';
import { CASES } from '../../bench/suites.ts';
import { median, type Sample, summarize } from '../../bench/summary.ts';

const RANDOM = CASES.filter(({ id }) => id === 'rand4k-d32');

function sample(server: string, round: number, iops: number, p99Us: number): Sample {
  return {
    ...{ server, round, iops, p99Us, load: 'rand4k-d32', p50Us: p99Us / 2 },
    ...{ operations: iops, bytesPerSecond: iops * 4096, cpuUsPerOperation: 1, residentBytes: 1 },
  };
}

function verdictsOf(ownIops: number, ownP99Us: number) {
  const samples = [
    sample('qemu-nbd', 1, 100_000, 400),
    sample('nbdkit-zstd', 1, 20_000, 9_000),
    sample('tmem-zcache', 1, ownIops, ownP99Us),
  ];
  return summarize(RANDOM, samples)[0]?.verdicts ?? [];
}

describe('median', () => {
  it('is the middle value of an odd count and the mean of the middle two of an even one', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4, 1, 2, 100])).toBe(3);
  });
});

describe('summary of a case', () => {
  it('compares throughput with the best peer and with the named one', () => {
    const throughput = verdictsOf(150_000, 300).filter(({ measure }) => measure === 'throughput');
    expect(throughput.map(({ peer, ratio, isReached }) => ({ peer, ratio, isReached }))).toEqual([
      { peer: 'qemu-nbd', ratio: 1.5, isReached: true },
      { peer: 'nbdkit-zstd', ratio: 7.5, isReached: false },
      { peer: 'qemu-nbd', ratio: 1.5, isReached: false },
    ]);
  });

  it('takes a lower p99 than the lowest of the peers for reached', () => {
    const reached = (p99Us: number) =>
      verdictsOf(1, p99Us)
        .filter(({ measure }) => measure === 'p99')
        .map(({ isReached }) => isReached);
    expect(reached(401)).toEqual([false, false]);
    expect(reached(400)).toEqual([true, false]);
    expect(reached(200)).toEqual([true, true]);
  });

  it('takes medians over the rounds and says how far they lie apart', () => {
    const rounds = [10, 40, 20].map((iops, round) => sample('qemu-nbd', round, iops, 1));
    const [summary] = summarize(RANDOM, rounds);
    expect(summary?.servers).toHaveLength(1);
    expect(summary?.servers[0]).toMatchObject({ throughput: 20, spread: 4, samples: 3 });
  });

  it('judges writes by throughput alone, against the peers of the case', () => {
    const loads = CASES.filter(({ id }) => id === 'wb-d32');
    const write = (server: string, iops: number, p99Us: number) => ({
      ...sample(server, 1, iops, p99Us),
      load: 'wb-d32',
    });
    const samples = [
      write('nbdkit-file-rw', 100, 1),
      write('tmem-writeback', 120, 9),
      write('qemu-nbd', 500, 1),
    ];
    const [summary] = summarize(loads, samples);
    expect(summary?.verdicts.map(({ kind, ratio, isReached }) => [kind, ratio, isReached])).toEqual(
      [
        ['at least', 1.2, true],
        ['aim', 1.2, false],
      ],
    );
  });

  it('shows the density of swap devices', () => {
    const densities = [1, 3, 2].map((density) => ({ ...sample('nbdkit-zstd', 1, 1, 1), density }));
    expect(summarize(RANDOM, densities)[0]?.servers[0]?.density).toBe(2);
    expect(summarize(RANDOM, [sample('qemu-nbd', 1, 1, 1)])[0]?.servers[0]).not.toHaveProperty(
      'density',
    );
  });

  it('gives no verdict where this server or its yardstick was not measured', () => {
    expect(summarize(RANDOM, [sample('tmem-zcache', 1, 5, 5)])[0]?.verdicts).toEqual([]);
    expect(summarize(RANDOM, [sample('qemu-nbd', 1, 5, 5)])[0]?.verdicts).toEqual([]);
  });

  it('says what made a sample invalid and takes nothing of that server for reached', () => {
    const bad = { ...sample('tmem-zcache', 2, 900, 1), fault: 'cold' };
    const [summary] = summarize(RANDOM, [sample('qemu-nbd', 2, 1, 900), bad]);
    expect(summary?.faults).toEqual(['tmem-zcache, round 2: cold']);
    expect(summary?.verdicts.length).toBeGreaterThan(0);
    expect(summary?.verdicts.filter(({ isReached }) => isReached)).toEqual([]);
  });
});
