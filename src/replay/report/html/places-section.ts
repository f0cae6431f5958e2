/** Where the requests go: the heat maps, and the table of volumes. */

import { formatCount, formatPercent } from '../../../lib/quantities.ts';
import { drawHeatChart, HEAT_LEVELS } from '../charts/heat-chart.ts';
import { sizeStep, timeStep } from '../charts/steps.ts';
import { axisTime, duration, shortCount, size } from '../format.ts';
import type { HeatMapFacts, ReplayReport, VolumeFacts } from '../report.ts';
import { figure, section, table } from './elements.ts';

/** Volumes in the table of the page; the CSV file has all. */
const VOLUMES_SHOWN = 50;
/** The table under a map is coarser than the map: so many rows and columns. */
const TABLE_ROWS = 16;
const TABLE_COLUMNS = 12;

function scale(): string {
  const boxes = Array.from(
    { length: HEAT_LEVELS },
    (_, level) => `<i style="background:var(--h${level + 1})"></i>`,
  );
  return `<span class="scale" aria-hidden="true">${boxes.join('')}</span>`;
}

function heatFigure(report: ReplayReport, map: HeatMapFacts, index: number): string {
  const { seconds } = report.workload;
  const isBytes = report.trace.unit === 'bytes';
  const address = (bytes: number) => (isBytes ? size(bytes) : shortCount(bytes));
  const columns = Math.max(1, ...map.rows.map((row) => row.length));
  return figure({
    id: `heat-${index}`,
    title: `Heat map of ${map.volume}`,
    label:
      `Map of the address on volume ${map.volume}, up to ${address(map.rows.length * map.rowBytes)}, ` +
      'over the time of the trace; darker where more is asked for.',
    legend: [],
    svg: drawHeatChart({
      id: `heat${index}`,
      x: {
        name: seconds > 0 ? 'time since the first request' : 'requests',
        scale: 'linear',
        min: 0,
        max: columns * map.columnWidth,
        ...(seconds > 0 && { interval: timeStep(seconds) }),
        format: (x) => (seconds > 0 ? axisTime(x, seconds) : shortCount(x)),
      },
      y: {
        name: isBytes ? 'address' : 'object',
        scale: 'linear',
        min: 0,
        max: map.rows.length * map.rowBytes,
        ...(isBytes && { interval: sizeStep(map.rows.length * map.rowBytes) }),
        format: address,
      },
      rows: map.rows,
      columnWidth: map.columnWidth,
      rowHeight: map.rowBytes,
    }),
    seriesCount: 1,
    note: `Less ${scale()} more asked for; each step is the same factor.`,
    data: heatTable(report, map, columns),
  });
}

/** The map in fewer and larger cells, so that it can be read out. */
function heatTable(report: ReplayReport, map: HeatMapFacts, columns: number) {
  const { seconds } = report.workload;
  const isBytes = report.trace.unit === 'bytes';
  const rowsEach = Math.ceil(map.rows.length / TABLE_ROWS);
  const columnsEach = Math.ceil(columns / TABLE_COLUMNS);
  const starts = Array.from(
    { length: Math.ceil(columns / columnsEach) },
    (_, at) => at * columnsEach * map.columnWidth,
  );
  const rows = Array.from({ length: Math.ceil(map.rows.length / rowsEach) }, (_, row) => {
    const cells = map.rows.slice(row * rowsEach, (row + 1) * rowsEach);
    const from = row * rowsEach * map.rowBytes;
    return [
      isBytes ? size(from) : formatCount(from),
      ...starts.map((_, column) => {
        const sum = cells
          .flatMap((each) => each.slice(column * columnsEach, (column + 1) * columnsEach))
          .reduce((total, value) => total + value, 0);
        return { number: isBytes ? size(sum) : formatCount(sum) };
      }),
    ];
  });
  const when = (start: number) => (seconds > 0 ? duration(start) : formatCount(start));
  return {
    caption: 'What is asked for, by address (rows) and by when (columns)',
    head: ['From', ...starts.map((start) => ({ number: when(start) }))],
    rows,
  };
}

function volumeTable(report: ReplayReport): string {
  const isBytes = report.trace.unit === 'bytes';
  const row = (volume: VolumeFacts) => [
    volume.name,
    ...[
      formatCount(volume.reads),
      formatCount(volume.writes),
      ...(isBytes ? [size(volume.readBytes), size(volume.writeBytes)] : []),
      formatPercent(volume.sequentialReads),
      formatPercent(volume.sequentialWrites),
      isBytes
        ? size(volume.footprintPages * report.settings.pageBytes)
        : formatCount(volume.footprintPages),
      formatPercent(volume.hitRatio),
    ].map((number) => ({ number })),
  ];
  const hidden = report.volumes.length - VOLUMES_SHOWN;
  const titles = [
    'Reads',
    'Writes',
    ...(isBytes ? ['Read', 'Written'] : []),
    'Sequential reads',
    'Sequential writes',
    'Footprint',
    'Hit ratio',
  ];
  return table({
    caption:
      `By volume, the busiest first${hidden > 0 ? ` (${formatCount(hidden)} more are in volumes.csv)` : ''}; ` +
      'the hit ratio is that of the recommended setting',
    head: ['Volume', ...titles.map((number) => ({ number }))],
    rows: report.volumes.slice(0, VOLUMES_SHOWN).map(row),
  });
}

/** The section of volumes and addresses. */
export function placesSection(report: ReplayReport): string {
  const maps = report.heatMaps.map((map, index) => heatFigure(report, map, index));
  return section('places', 'Volumes and addresses', '', [volumeTable(report), ...maps].join('\n'));
}
