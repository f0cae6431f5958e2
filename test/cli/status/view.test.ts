import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import type { ServiceStatus } from '../../../src/admin/api.ts';
import { formatStatus, type ViewOptions } from '../../../src/cli/status/view.ts';
import { colourPaint, plainPaint } from '../../../src/cli/terminal/line.ts';
import { displayWidth } from '../../../src/cli/terminal/table.ts';
import { exportStatus, layerStatus, poolStatus, serviceStatus } from '../statuses.ts';

const MIB = 1024 * 1024;
const WRITE_BACK = {
  dirtyBytes: 48 * MIB,
  limitBytes: 64 * MIB,
  state: 'writing',
  oldestSeconds: 2.34,
  failure: null,
} as const;

function view(status: ServiceStatus, options: Partial<ViewOptions> = {}): string {
  return formatStatus(status, { place: 'unix:/s', columns: 80, paint: plainPaint, ...options });
}

test('a status shows totals, layers and exports with bars', () => {
  const written = exportStatus({ mode: 'writeback', writeBack: WRITE_BACK });
  const status = serviceStatus({ exports: [written] });
  expect(view(status)).toMatchInlineSnapshot(`
    "tmem 1.2.3 at unix:/s, up 3 h 12 min, 4 connections, lz4

    memory   ██████████▓▓▓▓▒░░░░░░░░░░░░  288MiB of 512MiB
             █ data 192MiB  ▓ metadata 64MiB  ▒ buffers 32MiB  240MiB freeable

    hot      ███████████████▎░░░░░░░░░░░  72MiB of 128MiB
             60.0 % hits  100,000 pages  100 evicted
    zcache   ██████████▊░░░░░░░░░░░░░░░░  128MiB of 320MiB
             60.0 % hits  100,000 pages  100 evicted

    disk.raw  writeback, 16GiB, 51,200 pages cached
      hits   █████████████████████████▏░  93.1 %
      dirty  ████████████████████▎░░░░░░  48MiB of 64MiB  writing  oldest 2.3 s
      memory ████▎░░░░░░░░░░░░░░░░░░░░░░  80MiB  2.50× compressed
    "
  `);
});

test('what happened since the last look stands beside the totals', () => {
  const changes = {
    exports: new Map([['disk.raw', { readsPerSecond: 1234.4, hitRatio: 1 }]]),
    layers: new Map([['zcache', { evictionsPerSecond: 2.5, hitRatio: undefined }]]),
  };
  const text = view(serviceStatus(), { changes });
  expect(text).toMatch(/hits .* {2}93\.1 % {2}now 100\.0 % {2}1,234\/s read$/m);
  expect(text).toMatch(/60\.0 % hits {2}100,000 pages {2}2\.5\/s evicted$/m);
});

test('pressure, a frozen cache and a failing image are told', () => {
  const { memory } = serviceStatus();
  const text = view(
    serviceStatus({
      isFrozen: true,
      isStopping: true,
      memory: {
        ...memory,
        limitBytes: 400 * MIB,
        pressure: { reason: 'psi', psiSomeAvg10: 12.34 },
      },
      layers: [layerStatus({ isFrozen: true })],
      exports: [
        exportStatus({
          writeBack: { ...WRITE_BACK, state: 'failing', failure: 'no space is left on /srv' },
        }),
      ],
    }),
  );
  expect(text).toMatch(/^tmem 1\.2\.3 .* {2}frozen {2}stopping$/m);
  expect(text).toMatch(/^pressure psi {2}PSI some 12\.3 % {2}limit lowered from 512MiB$/m);
  expect(text).toMatch(/^zcache .* of 320MiB {2}frozen$/m);
  expect(text).toMatch(/^ {2}dirty .* {2}failing {2}oldest 2\.3 s$/m);
  expect(text).toMatch(/^ +no space is left on \/srv$/m);
});

test('a service that has done nothing yet shows no ratios', () => {
  const idle = { reads: { hits: 0, misses: 0 }, pages: 0, memoryBytes: 0, poolIds: [] };
  const text = view(serviceStatus({ exports: [exportStatus(idle)], layers: [] }));
  expect(text).toMatch(/^ {2}hits +░+ {2}nothing read yet$/m);
  expect(text).toMatch(/^ {2}memory +░+ {2}0B {2}– compressed$/m);
  expect(text).not.toMatch(/NaN|undefined|Infinity/);
});

test('compression is the content of the pages by the memory they take', () => {
  const pools = [poolStatus({ id: 7, pageBytes: 65_536 }), poolStatus({ id: 8 })];
  const one = exportStatus({ poolIds: [8], pages: 1024, memoryBytes: MIB });
  expect(view(serviceStatus({ pools, exports: [one] }))).toContain('  4.00× compressed');
  const other = exportStatus({ poolIds: [7], pages: 1024, memoryBytes: 16 * MIB });
  expect(view(serviceStatus({ pools, exports: [other] }))).toContain('  4.00× compressed');
});

test.each([1, 2, 20, 40, 79, 80, 132, 300])('no line is wider than %i columns', (columns) => {
  const name =
    '磁盘映像 with a rather long name that goes on 🙂 and on until it fits nowhere at all';
  const exports = [exportStatus({ name, writeBack: WRITE_BACK })];
  const text = view(serviceStatus({ exports }), { columns, paint: colourPaint, trouble: 'x' });
  for (const line of stripVTControlCharacters(text).split('\n')) {
    expect(displayWidth(line), line).toBeLessThanOrEqual(columns);
  }
});

test('lines that have no end are not cut, and bars have their longest', () => {
  const name = 'n'.repeat(300);
  const text = view(serviceStatus({ exports: [exportStatus({ name })] }), {
    columns: Number.POSITIVE_INFINITY,
  });
  expect(text).toContain(name);
  expect(text).toMatch(/hits +[█▏▎▍▌▋▊▉░]{40} {2}/);
});

test('colours change nothing but the colour', () => {
  const status = serviceStatus({ exports: [exportStatus({ writeBack: WRITE_BACK })] });
  const coloured = view(status, { paint: colourPaint });
  expect(coloured).toContain('\u001b[36m█');
  expect(stripVTControlCharacters(coloured)).toBe(view(status));
});

test('a name cannot command the terminal', () => {
  const exports = [exportStatus({ name: 'a\u001b[2J\u0007\nb\u202e' })];
  expect(view(serviceStatus({ exports }))).toContain('a\ufffd[2J\ufffd\ufffdb\ufffd  writethrough');
});

test('trouble stands under the title', () => {
  const lines = view(serviceStatus(), { trouble: 'trying again: gone' }).split('\n');
  expect(lines.slice(0, 3)).toEqual([expect.any(String), 'trying again: gone', '']);
});
