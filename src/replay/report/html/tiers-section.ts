/** What memory would be made of, and what each part of it would answer. */

import { formatCount, formatPercent } from '../../../lib/quantities.ts';
import { size } from '../format.ts';
import type { ReplayReport, TierFacts } from '../report.ts';
import { type Cell, escapeHtml, section, table } from './elements.ts';

function row(tiers: TierFacts, hasFlash: boolean): Cell[] {
  const misses = 1 - tiers.hotHits - tiers.compressedHits - tiers.flashHits;
  const numbers = [
    formatCount(tiers.hotPages),
    formatPercent(tiers.hotHits),
    formatCount(tiers.compressedPages),
    formatPercent(tiers.compressedHits),
    formatPercent(tiers.hotHits + tiers.compressedHits),
    ...(hasFlash ? [formatCount(tiers.flashPages), formatPercent(tiers.flashHits)] : []),
    formatPercent(Math.max(0, misses)),
  ];
  return [size(tiers.memoryBytes), ...numbers.map((number) => ({ number }))];
}

/** The table of tiers; nothing for a trace whose objects have no bytes. */
export function tiersSection({ tiers }: ReplayReport): string {
  if (tiers === null) return '';
  const { policy, hotShare, compressionRatio, ratioFrom, contents } = tiers;
  const ratio = `${compressionRatio.toFixed(2)} : 1`;
  const origin = {
    trace: `Pages compress ${ratio}, as the trace says.`,
    assumption: `The trace does not say how its pages compress: ${ratio} is assumed.`,
    contents: `Pages compressed ${ratio}; their contents are ${escapeHtml(contents ?? 'unknown')}.`,
  }[ratioFrom];
  const isMeasured = ratioFrom === 'contents';
  const below = isMeasured ? '' : '; below it a flash tier of four times the pages';
  const ending = isMeasured
    ? `All were measured with ${policy}, in the real layers.`
    : `Hit ratios follow the curve of ${policy}.`;
  const titles = [
    'Hot pages',
    'Hits',
    'Compressed pages',
    'Hits',
    'Memory hits',
    ...(isMeasured ? [] : ['Flash pages', 'Hits']),
    'Misses',
  ];
  return section(
    'tiers',
    'Tiers',
    `Memory in two parts, as <code>tmem serve</code> divides it: ${formatPercent(hotShare)} hot, as it is, and the rest ` +
      `compressed${below}. ${origin} ${escapeHtml(ending)}`,
    table({
      caption: 'Tier sizes and the share of all accesses that each would answer',
      head: ['Memory', ...titles.map((number) => ({ number }))],
      rows: tiers.rows.map((each) => row(each, !isMeasured)),
    }),
  );
}
