import { expect, test } from 'vitest';
import type { AdvisorStatus } from '../../../src/admin/api.ts';
import { formatStatus } from '../../../src/cli/status/view.ts';
import { plainPaint } from '../../../src/cli/terminal/line.ts';
import { exportStatus, serviceStatus } from '../statuses.ts';

const MIB = 1024 * 1024;

const ADVISOR: AdvisorStatus = {
  advice: 'twice the memory would do',
  ...{ reads: 1000, sampledReads: 100, rate: 0.1, sampledPages: 50, footprintPages: 4096 },
  ...{ memoryPages: 1024, pageBytes: 4096, realMissRatio: 0.345, gap: 0.005 },
  sizes: [
    { memory: 0.5, policy: 'arc', pages: 512, bytes: 2 * MIB, missRatio: 0.5, low: 0.4, high: 0.6 },
    {
      memory: 1,
      policy: 'arc',
      pages: 1024,
      bytes: 4 * MIB,
      missRatio: 0.34,
      low: 0.33,
      high: 0.35,
    },
  ],
  others: [
    { memory: 1, policy: 'lirs', pages: 1024, bytes: 4 * MIB, missRatio: 0.3, low: 0.3, high: 0.3 },
  ],
  curve: [1, 0.5, 0].map((missRatio, i) => {
    return { pages: 64 << i, bytes: MIB << i, missRatio, low: missRatio, high: missRatio };
  }),
};

function shown(advisor: AdvisorStatus | null): string[] {
  const status = serviceStatus({ exports: [exportStatus({ advisor })] });
  const text = formatStatus(status, { place: 'here', columns: 200, paint: plainPaint });
  return text.split('\n').filter((line) => /^ {2}(curve|misses|advice)/.test(line));
}

test('a status shows the curve, the estimates with their bands, and the advice', () => {
  expect(shown(ADVISOR)).toEqual([
    '  curve  █▅▁  of lru, with 1MiB: 100.0 % to 4MiB: 0.0 %',
    '  misses 0.5× 50.0 % ±10.0  1× 34.0 % ±1.0  lirs 30.0 % ±0.0  measured 34.5 %',
    '  advice twice the memory would do',
  ]);
});

test('a status has only words where nothing was read, and nothing where nobody advises', () => {
  expect(shown({ ...ADVISOR, reads: 0 })).toEqual(['  advice twice the memory would do']);
  expect(shown(null)).toEqual([]);
});
