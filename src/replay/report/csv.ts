/** The numbers of a report as CSV files (RFC 4180): one table each, with a line of titles. */

import type { ReplayReport } from './report.ts';

type Value = string | number | null | undefined;

/** A file, by its name. */
export interface CsvFile {
  readonly name: string;
  readonly text: string;
}

/** Spreadsheets take a text that begins so for a formula. */
const FORMULA = /^[=+\-@\t\r]/;

function field(value: Value): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number') return String(Number(value.toPrecision(12)));
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function file(name: string, head: readonly string[], rows: readonly (readonly Value[])[]): CsvFile {
  const lines = [head, ...rows].map((row) => row.map(field).join(','));
  return { name: `${name}.csv`, text: `${lines.join('\n')}\n` };
}

/** What a column is called: in a trace of keys, whose objects have no size, bytes count objects. */
function titleOf(name: string, { unit }: ReplayReport['trace']): string {
  return unit === 'bytes' ? name : name.replace(/Bytes$/, 'Objects').replace(/^bytes$/, 'objects');
}

/** All of them; a table that has no rows is left out. */
export function csvFilesOf(report: ReplayReport): CsvFile[] {
  return [...ofRuns(report), ...ofWorkload(report)].filter(
    ({ text }) => text.indexOf('\n') < text.length - 1,
  );
}

function ofRuns(report: ReplayReport): CsvFile[] {
  const { trace, runs, curves, overTime, tiers, scanDamage } = report;
  const runKeys = [
    ...(['trace', 'policy', 'capacityPages', 'capacityBytes', 'requests', 'hits'] as const),
    ...(['misses', 'coldMisses', 'evictions', 'missRatio'] as const),
    ...(['missRatioLow', 'missRatioHigh'] as const),
  ];
  const tierKeys = [
    ...(['memoryBytes', 'hotPages', 'compressedPages', 'flashPages'] as const),
    ...(['hotHits', 'compressedHits', 'flashHits'] as const),
  ];
  const damageKeys = ['policy', 'onceTouched', 'twiceTouched'] as const;
  return [
    file(
      'runs',
      runKeys,
      runs.map((run) =>
        runKeys.map((key) => (key === 'capacityBytes' && trace.unit === 'keys' ? null : run[key])),
      ),
    ),
    file(
      'curves',
      ['policy', 'pages', 'missRatio', 'low', 'high'],
      curves.flatMap(({ policy, points }) =>
        points.map(({ pages, missRatio, low, high }) => [policy, pages, missRatio, low, high]),
      ),
    ),
    file(
      'hits-over-time',
      ['access', 'seconds', ...overTime.policies.map(({ policy }) => policy), 'firstUses'],
      overTime.starts.map((start, at) => [
        start.access,
        start.seconds,
        ...overTime.policies.map(({ hitRatios }) => hitRatios[at]),
        overTime.coldMissRatios[at],
      ]),
    ),
    file(
      'tiers',
      tierKeys,
      (tiers?.rows ?? []).map((row) => tierKeys.map((key) => row[key])),
    ),
    file(
      'scan-damage',
      damageKeys,
      (scanDamage?.policies ?? []).map((row) => damageKeys.map((key) => row[key])),
    ),
  ];
}

function ofWorkload(report: ReplayReport): CsvFile[] {
  const { trace, volumes, footprint, reuse, popularity, mix, sizes, heatMaps } = report;
  const volumeKeys = [
    ...(['name', 'reads', 'writes', 'readBytes', 'writeBytes', 'sequentialReads'] as const),
    ...(['sequentialWrites', 'footprintPages', 'accesses', 'hitRatio'] as const),
  ];
  const mixKeys = ['reads', 'writes', 'sequential', 'readBytes', 'writeBytes'] as const;
  return [
    file(
      'volumes',
      volumeKeys.map((key) => titleOf(key, trace)),
      volumes.map((volume) => volumeKeys.map((key) => volume[key])),
    ),
    file(
      'footprint',
      ['accesses', 'pages'],
      footprint.map(({ x, y }) => [x, y]),
    ),
    file(
      'reuse-distances',
      ['pagesMax', 'share'],
      reuse.bars.map(({ pagesMax, share }) => [pagesMax, share]),
    ),
    file(
      'popularity',
      ['rank', 'accesses'],
      popularity.byRank.map(({ x, y }) => [x, y]),
    ),
    file(
      'mix',
      ['start', ...mixKeys.map((key) => titleOf(key, trace))],
      mix.reads.map((_, at) => [at * mix.columnWidth, ...mixKeys.map((key) => mix[key][at])]),
    ),
    file(
      'request-sizes',
      ['bytesMax', 'reads', 'writes'],
      sizes.map(({ bytesMax, reads, writes }) => [bytesMax, reads, writes]),
    ),
    file(
      'heat-map',
      ['volume', 'start', 'address', titleOf('bytes', trace)],
      heatMaps.flatMap(({ volume, columnWidth, rowBytes, rows }) =>
        rows.flatMap((cells, row) =>
          cells.flatMap((bytes, column) =>
            bytes === 0 ? [] : [[volume, column * columnWidth, row * rowBytes, bytes]],
          ),
        ),
      ),
    ),
  ];
}
