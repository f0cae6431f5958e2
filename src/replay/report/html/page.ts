/** The whole report as one HTML file that needs no network, no script and no other file. */

import { formatCount, formatCounted, formatPercent } from '../../../lib/quantities.ts';
import { CHARTS_VERSION } from '../charts/svg.ts';
import { coldName, duration, pagesAs, size } from '../format.ts';
import type { ReplayReport } from '../report.ts';
import { escapeHtml, section } from './elements.ts';
import { memorySection } from './memory-section.ts';
import { placesSection } from './places-section.ts';
import { scanSection } from './scan-section.ts';
import { STYLE } from './style.ts';
import { tiersSection } from './tiers-section.ts';
import { timeSection } from './time-section.ts';
import { workloadSection } from './workload-section.ts';

/** One of the large numbers at the top. */
interface Fact {
  readonly term: string;
  readonly value: string;
  readonly more?: string;
}

function footprintOf({ workload, settings, trace }: ReplayReport): Pick<Fact, 'value' | 'more'> {
  const pages = formatCount(workload.footprintPages);
  if (trace.unit === 'keys') return { value: pages, more: 'different objects' };
  const bytes = pagesAs(workload.footprintPages, settings.pageBytes, trace.unit);
  return { value: bytes, more: `${pages} different pages` };
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function factsOf(report: ReplayReport): Fact[] {
  const { workload, settings, trace, advice } = report;
  const transfers = Math.max(1, workload.reads + workload.writes);
  return [
    {
      term: 'Hit ratio, so set',
      value: formatPercent(advice.hitRatio),
      more: `of at most ${formatPercent(advice.hitRatioMax)}`,
    },
    {
      term: 'Footprint',
      ...footprintOf(report),
    },
    {
      term: 'Accesses',
      value: formatCount(workload.accesses),
      more: formatCounted(workload.requests, 'request', 'requests'),
    },
    {
      term: 'Reads',
      value: formatPercent(workload.reads / transfers),
      ...(trace.unit === 'bytes' && {
        more: `${size(workload.readBytes)} read, ${size(workload.writeBytes)} written`,
      }),
    },
    {
      term: 'Sequential',
      value: formatPercent(workload.sequential / transfers),
      more: 'of the requests',
    },
    workload.seconds > 0
      ? { term: 'Length', value: duration(workload.seconds) }
      : {
          term: capitalised(coldName(settings.ops)),
          value: formatPercent(workload.coldMissRatio),
          more: 'of the accesses',
        },
  ];
}

function header(report: ReplayReport): string {
  const { trace, advice, settings, volumes } = report;
  const facts = factsOf(report).map(({ term, value, more }) => {
    const detail = more === undefined ? '' : `<small>${escapeHtml(more)}</small>`;
    return `<div><dt>${term}</dt><dd>${escapeHtml(value)}${detail}</dd></div>`;
  });
  const notes = advice.notes.map((note) => `<li>${escapeHtml(note)}</li>`);
  const what = [
    `${trace.formatName} trace`,
    formatCounted(volumes.length, 'volume', 'volumes'),
    trace.unit === 'bytes' ? `pages of ${size(settings.pageBytes)}` : 'one object a request',
    settings.sampleRate < 1 ? `a sample of ${formatPercent(settings.sampleRate)} of the pages` : '',
  ];
  return `<header>
<p class="eyebrow">Replay of a recorded workload</p>
<h1>${escapeHtml(trace.name)}</h1>
<p class="about">${escapeHtml(what.filter((each) => each !== '').join(' · '))}</p>
<div class="advice"><p class="sentence">${escapeHtml(advice.sentence)}</p>
${notes.length === 0 ? '' : `<ul>${notes.join('')}</ul>`}</div>
<dl class="facts">
${facts.join('\n')}
</dl>
</header>`;
}

function navigation(report: ReplayReport): string {
  const links = [
    ['memory', 'Memory and policy'],
    ...(report.tiers === null ? [] : [['tiers', 'Tiers']]),
    ['time', 'Over time'],
    ['workload', 'Workload'],
    ['places', 'Volumes and addresses'],
    ...(report.scanDamage === null ? [] : [['scan', 'Scan damage']]),
    ['origin', 'How this was made'],
  ];
  const items = links.map(([id, title]) => `<li><a href="#${id}">${title}</a></li>`);
  return `<nav aria-label="Sections"><ul>${items.join('')}</ul></nav>`;
}

/** Whatever is needed to make the same report again. */
function origin({ settings, trace }: ReplayReport): string {
  const rows: [string, string][] = [
    ['Files', trace.files.join(', ')],
    ['SHA-256', trace.sha256 ?? 'not known: the trace came through a pipe'],
    ['Format', trace.formatName],
    ['Malformed', `${formatCount(trace.malformed)} lines or records were left out`],
    ...(trace.unit === 'bytes' ? [['Page', size(settings.pageBytes)] as [string, string]] : []),
    ['Operations', settings.ops],
    ['Engine', settings.engine],
    ['Sample', settings.sampleRate === 1 ? 'all pages' : formatPercent(settings.sampleRate)],
    ['Warm-up', formatCounted(settings.warmupAccesses, 'access', 'accesses')],
    ['Seed', String(settings.seed)],
    ...Object.entries(settings.versions),
    ['Charts', `Apache ECharts ${CHARTS_VERSION}`],
  ];
  const items = rows.map(
    ([term, text]) => `<dt>${escapeHtml(term)}</dt><dd>${escapeHtml(text)}</dd>`,
  );
  const warnings = trace.warnings.map((each) => `<p class="warning">${escapeHtml(each)}.</p>`);
  return section(
    'origin',
    'How this was made',
    'The same command on the same files gives this report again, byte for byte.',
    `<pre><code>${escapeHtml(settings.command)}</code></pre>
${warnings.join('\n')}<dl class="key">
${items.join('\n')}
</dl>`,
  );
}

/** The report as HTML. */
export function htmlOf(report: ReplayReport): string {
  const sections = [
    memorySection(report),
    tiersSection(report),
    timeSection(report),
    workloadSection(report),
    placesSection(report),
    scanSection(report),
    origin(report),
  ];
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>${escapeHtml(report.trace.name)}: replay report</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${header(report)}
${navigation(report)}
${sections.filter((each) => each !== '').join('\n')}
</main>
</body>
</html>
`;
}
