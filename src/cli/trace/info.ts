/** `tmem trace info`: what a trace holds. */

import {
  formatCount,
  formatCounted,
  formatPercent,
  formatRate,
  formatSeconds,
} from '../../lib/quantities.ts';
import { formatSize } from '../../lib/sizes.ts';
import { openTrace } from '../../trace/open-trace.ts';
import { OP_NAMES } from '../../trace/request-batch.ts';
import { SUMMARY_PAGE_BYTES, TraceSummary } from '../../trace/summary.ts';
import type { Trace } from '../../trace/trace.ts';
import { type Column, formatTable, printable } from '../terminal/table.ts';
import { INPUT_OPTIONS, inputOptions } from './input.ts';
import type { TraceCall, TraceVerb } from './verb.ts';

/** How many volumes people are shown. */
const VOLUMES_SHOWN = 10;

interface VolumeRow {
  readonly name: string;
  readonly requests: number;
  readonly endBytes: number;
}

const VOLUME_COLUMNS: readonly Column<VolumeRow>[] = [
  { title: 'VOLUME', cell: ({ name }) => name },
  { title: 'REQUESTS', align: 'right', cell: ({ requests }) => formatCount(requests) },
  { title: 'REACHES', align: 'right', cell: ({ endBytes }) => formatSize(endBytes) },
];

/** What `--json` prints. */
function describe(trace: Trace, summary: TraceSummary, hash: string | undefined) {
  const { statistics, unit } = trace;
  const { requests, firstTimeUs, lastTimeUs } = statistics;
  const { distinctPages } = summary;
  return {
    files: trace.paths,
    format: trace.formatName,
    unit,
    hasClock: trace.hasClock,
    sizeBytes: trace.sizeBytes,
    ...(hash !== undefined && { sha256: hash }),
    lines: statistics.lines,
    requests,
    malformed: statistics.malformed,
    firstMalformed: statistics.firstMalformed ?? null,
    dropped: statistics.dropped,
    outOfOrder: summary.outOfOrder,
    spanSeconds: trace.hasClock ? (lastTimeUs - firstTimeUs) / 1e6 : null,
    operations: Object.fromEntries(
      OP_NAMES.map((name, op) => [name, summary.ops[op] ?? { requests: 0, bytes: 0 }]),
    ),
    pageBytes: unit === 'keys' ? null : SUMMARY_PAGE_BYTES,
    pageAccesses: summary.pageAccesses,
    distinctPages: distinctPages.estimate,
    isDistinctExact: distinctPages.isExact,
    alignedRequests: unit === 'keys' ? null : summary.alignedRequests,
    volumes: trace.volumes.map((name, number) => ({
      name,
      requests: summary.volumes[number]?.requests ?? 0,
      endBytes: summary.volumes[number]?.endBytes ?? 0,
    })),
    warnings: statistics.warnings,
  };
}

type Description = ReturnType<typeof describe>;

function opLines({ operations }: Description): string[] {
  return Object.entries(operations)
    .filter(([, { requests }]) => requests > 0)
    .map(([name, { requests, bytes }]) => {
      const mean = bytes > 0 ? `, ${formatSize(bytes)}, mean ${formatSize(bytes / requests)}` : '';
      return `${`  ${name}`.padEnd(12)}${formatCount(requests)}${mean}`;
    });
}

function spanLine({ spanSeconds, requests }: Description): string {
  if (spanSeconds === null) return 'span        unknown, the format has no times';
  if (spanSeconds < 0) return 'span        unknown, the times run backwards';
  const rate = spanSeconds > 0 ? `, ${formatRate(requests / spanSeconds)}` : '';
  const ms = spanSeconds * 1000;
  const span = ms < 100 ? `${Number(ms.toPrecision(3))} ms` : formatSeconds(spanSeconds);
  return `span        ${span}${rate}`;
}

function footprintLine(info: Description): string {
  const about = info.isDistinctExact ? '' : 'about ';
  const count = `${about}${formatCount(info.distinctPages)}`;
  if (info.pageBytes === null) return `footprint   ${count} keys`;
  const bytes = formatSize(info.distinctPages * info.pageBytes);
  const accesses = formatCounted(info.pageAccesses, 'access', 'accesses');
  return `footprint   ${count} pages of ${formatSize(info.pageBytes)}, ${bytes}; ${accesses}`;
}

function toText(info: Description, { recordName }: Trace): string {
  const { volumes, requests, malformed, lines, outOfOrder } = info;
  const rows = [...volumes].sort((one, other) => other.requests - one.requests);
  const more = rows.length - VOLUMES_SHOWN;
  const aligned = info.alignedRequests;
  const records = formatCounted(lines, recordName, `${recordName}s`);
  return [
    `format      ${info.format}, a trace of ${info.unit}`,
    `files       ${info.files.length}, ${formatSize(info.sizeBytes)}`,
    ...(info.sha256 === undefined ? [] : [`sha256      ${info.sha256}`]),
    `requests    ${formatCount(requests)} in ${records}, ${malformed} malformed`,
    ...opLines(info),
    spanLine(info),
    ...(outOfOrder === 0
      ? []
      : [`order       ${formatCount(outOfOrder)} earlier than the one before`]),
    footprintLine(info),
    ...(aligned === null ? [] : [`aligned     ${formatPercent(aligned / requests)} to pages`]),
    '',
    formatTable(
      info.unit === 'keys' ? VOLUME_COLUMNS.slice(0, 2) : VOLUME_COLUMNS,
      rows.slice(0, VOLUMES_SHOWN),
    ) + (more > 0 ? `and ${formatCount(more)} more\n` : ''),
  ]
    .map((line) => line.split('\n').map(printable).join('\n'))
    .join('\n');
}

async function run({ paths, parsed, progress, stopped }: TraceCall) {
  const trace = await openTrace(paths, inputOptions(parsed));
  const summary = new TraceSummary();
  for await (const batch of trace.batches()) {
    stopped.throwIfAborted();
    summary.add(batch, trace.unit);
    const done = trace.sizeBytes === 0 ? 0 : trace.doneBytes / trace.sizeBytes;
    progress.show('reading', done, trace.statistics.requests);
  }
  const hash = parsed.has('hash') ? await trace.hash() : undefined;
  progress.clear();
  const info = describe(trace, summary, hash);
  return { json: info, text: toText(info, trace), warnings: info.warnings };
}

export const infoVerb: TraceVerb = {
  name: 'info',
  operands: 'TRACE...',
  operandsMin: 1,
  summary: 'say what a trace holds',
  about:
    'Reads all of it. Several files are one trace, merged by time. Above 65,536 distinct pages the\n' +
    'footprint is an estimate, with a standard error of about 0.5 %.',
  options: {
    hash: { help: 'say the SHA-256 of the files too' },
    ...INPUT_OPTIONS,
  },
  run,
};
