import { describe, expect, it } from 'vitest';
import { CASES } from '../../bench/cases.ts';
import { fioArguments, readFioOutput } from '../../bench/fio.ts';

function output(error: number, operations: number): string {
  const percentile = { '50.000000': 200_000, '99.000000': 900_500 };
  const read = { total_ios: operations, iops: 1000.5, bw_bytes: 4_098_048, lat_ns: { percentile } };
  return JSON.stringify({ jobs: [{ error, read }] });
}

describe('fio arguments', () => {
  it('give the time in milliseconds, since fio cuts fractions of a second off', () => {
    for (const load of CASES) {
      const run = { uri: 'nbd://x', load, seconds: 0.3, seed: 7, workFolder: '/tmp' };
      expect(fioArguments(run)).toContain('--runtime=300ms');
      expect(fioArguments(run)).toContain(`--numjobs=${load.connections}`);
    }
  });
});

describe('fio output', () => {
  it('becomes figures with latencies in microseconds', () => {
    expect(readFioOutput(output(0, 4002))).toEqual({
      operations: 4002,
      iops: 1000.5,
      bytesPerSecond: 4_098_048,
      p50Us: 200,
      p99Us: 900.5,
    });
  });

  it('is refused when the job failed or read nothing', () => {
    expect(() => readFioOutput(output(5, 10))).toThrow('error 5');
    expect(() => readFioOutput(output(0, 0))).toThrow('measured nothing');
    expect(() => readFioOutput('{"jobs":[]}')).toThrow('measured nothing');
  });
});
