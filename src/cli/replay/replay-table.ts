/** What `tmem replay` prints: the trace in a line, a table of hit ratios, and the advice. */

import { formatCount, formatCounted, formatPercent } from '../../lib/quantities.ts';
import { formatSize } from '../../lib/sizes.ts';
import { coldName } from '../../replay/report/format.ts';
import type { ReplayOutcome } from '../../replay/report/replay.ts';
import type { RunFacts } from '../../replay/report/report.ts';
import { type Column, formatTable, printable } from '../terminal/table.ts';

/** How the trace counts, and how it was read. */
export interface TableContext {
  readonly traceName: string;
  readonly unit: 'bytes' | 'keys';
  readonly pageBytes: number;
  readonly ops: string;
  readonly warnings: readonly string[];
}

function ratioText({ missRatio, missRatioLow, missRatioHigh }: RunFacts): string {
  const ratio = formatPercent(1 - missRatio);
  if (missRatioLow === null || missRatioHigh === null) return ratio;
  return `${ratio} ±${((missRatioHigh - missRatioLow) * 50).toFixed(1)}`;
}

/** The text, with its line ends. */
export function formatReplay(outcome: ReplayOutcome, context: TableContext): string {
  const { runs, advice, workload, sampleRate } = outcome;
  const { traceName, unit, pageBytes, ops, warnings } = context;
  const size = (pages: number) =>
    unit === 'bytes' ? formatSize(pages * pageBytes) : `${formatCount(pages)}p`;
  const policies = [...new Set(runs.map(({ policy }) => policy))];
  const capacities = [...new Set(runs.map(({ capacityPages }) => capacityPages))];
  const columns: Column<number>[] = [
    { title: 'size', align: 'right', cell: size },
    {
      title: 'footprint',
      align: 'right',
      cell: (pages) =>
        pages > workload.footprintPages ? 'all' : formatPercent(pages / workload.footprintPages),
    },
    ...policies.map((policy): Column<number> => {
      const cell = (pages: number) => {
        const run = runs.find((each) => each.policy === policy && each.capacityPages === pages);
        return run === undefined ? '' : ratioText(run);
      };
      return { title: policy, align: 'right', cell };
    }),
  ];
  const pages = unit === 'bytes' ? `pages of ${formatSize(pageBytes)}` : 'objects';
  const sample = sampleRate < 1 ? `; a sample of ${formatPercent(sampleRate)} of the pages` : '';
  const facts =
    `${printable(traceName)}: ${formatCounted(workload.requests, 'request', 'requests')}, ` +
    `${formatCounted(workload.accesses, 'access', 'accesses')} of ${pages}, ` +
    `footprint ${size(workload.footprintPages)}, ` +
    `${coldName(ops)} ${formatPercent(workload.coldMissRatio)}${sample}`;
  return [
    `${facts}\n`,
    ...warnings.map((warning) => `note: ${printable(warning)}\n`),
    '\nhit ratios\n',
    formatTable(columns, capacities),
    `\n${advice.sentence}\n`,
    ...advice.notes.map((note) => `- ${note}\n`),
  ].join('');
}
