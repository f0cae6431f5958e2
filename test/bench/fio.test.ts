import { describe, expect, it } from 'vitest';
import { fioArguments, readFioOutput } from '../../bench/fio.ts';
import { CASES } from '../../bench/suites.ts';

function output(error: number, operations: number, direction = 'read'): string {
  const percentile = { '50.000000': 200_000, '99.000000': 900_500 };
  const idle = { total_ios: 0, iops: 0, bw_bytes: 0, lat_ns: {} };
  const done = { total_ios: operations, iops: 1000.5, bw_bytes: 4_098_048, lat_ns: { percentile } };
  return JSON.stringify({ jobs: [{ error, read: idle, write: idle, [direction]: done }] });
}

describe('fio arguments', () => {
  it('give the time in milliseconds, since fio cuts fractions of a second off', () => {
    for (const load of CASES) {
      const run = { uri: 'nbd://x', load, seconds: 0.3, seed: 7, workFolder: '/tmp' };
      expect(fioArguments(run)).toContain('--runtime=300ms');
      expect(fioArguments(run)).toContain(`--numjobs=${load.connections}`);
      expect(fioArguments(run)).toEqual(expect.arrayContaining(['--randrepeat=0', '--randseed=7']));
      const isWrite = fioArguments(run).includes('--rw=randwrite');
      expect(fioArguments(run).some((each) => /compress/.test(each))).toBe(isWrite);
    }
  });
});

describe('fio output', () => {
  it.each(['read', 'write'])(
    'of a %s becomes figures with latencies in microseconds',
    (direction) => {
      expect(readFioOutput(output(0, 4002, direction))).toEqual({
        operations: 4002,
        iops: 1000.5,
        bytesPerSecond: 4_098_048,
        p50Us: 200,
        p99Us: 900.5,
      });
    },
  );

  it('is refused when the job failed or read nothing', () => {
    expect(() => readFioOutput(output(5, 10))).toThrow('error 5');
    expect(() => readFioOutput(output(0, 0))).toThrow('measured nothing');
    expect(() => readFioOutput('{"jobs":[]}')).toThrow('measured nothing');
  });
});
