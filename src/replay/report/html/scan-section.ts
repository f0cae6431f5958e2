/** What a scan does to each policy. */

import { drawBarChart } from '../charts/bar-chart.ts';
import { WIDE } from '../charts/line-chart.ts';
import { COLOURS } from '../charts/svg.ts';
import { pagesAs } from '../format.ts';
import type { ReplayReport } from '../report.ts';
import { figure, section } from './elements.ts';

function share(value: number): string {
  return `${Math.round(value * 100)} %`;
}

/** The section of scan damage; nothing where it was not measured. */
export function scanSection({ scanDamage, settings, trace }: ReplayReport): string {
  if (scanDamage === null) return '';
  const { capacityPages, scanPages, policies } = scanDamage;
  const ofPages = trace.unit === 'bytes' ? ' of pages' : '';
  const name = (pages: number) => pagesAs(pages, settings.pageBytes, trace.unit);
  const each = trace.unit === 'bytes' ? 'each page' : 'each object';
  const kinds = [
    { name: `${each} read once`, key: 'onceTouched', colour: COLOURS.accent, box: 'plain' },
    { name: `${each} read twice`, key: 'twiceTouched', colour: COLOURS.second, box: 'striped' },
  ] as const;
  const chart = figure({
    id: 'scan-damage',
    title: `Extra misses after a scan, as a share of a cache of ${name(capacityPages)}`,
    label: `Bar chart of the damage that a scan of ${name(scanPages)} does to ${policies.length} policies.`,
    legend: kinds.map(({ name: kind, colour, box }) => ({ name: kind, style: { colour, box } })),
    svg: drawBarChart({
      id: 'scan',
      xName: '',
      classes: policies.map(({ policy }) => policy),
      y: { name: 'extra misses', scale: 'linear', format: share },
      series: kinds.map(({ name: kind, key, colour, box }) => ({
        name: kind,
        colour,
        isStriped: box === 'striped',
        values: policies.map((policy) => policy[key]),
      })),
      width: WIDE,
      height: 300,
    }),
    seriesCount: kinds.length,
    data: {
      caption: 'Extra misses of the accesses of the trace, in % of the capacity',
      head: ['Policy', ...kinds.map((kind) => ({ number: kind.name }))],
      rows: policies.map(({ policy, onceTouched, twiceTouched }) => [
        policy,
        { number: share(onceTouched) },
        { number: share(twiceTouched) },
      ]),
    },
  });
  return section(
    'scan',
    'Scan damage',
    `In the middle of the trace, ${name(scanPages)}${ofPages} are read that are never used again, as a backup would. ` +
      'What counts is how many more accesses of the trace itself miss. Below zero, the scan happened to help.',
    chart,
  );
}
