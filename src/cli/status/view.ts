/** The status of a service as a person reads it: pure, from what is known to lines of text. */

import type {
  ExportStatus,
  LayerStatus,
  MemoryStatus,
  PoolStatus,
  ServiceStatus,
  WriteBackStatus,
} from '../../admin/api.ts';
import { formatCount, formatPercent, formatRate, formatSeconds } from '../../lib/quantities.ts';
import { formatSize } from '../../lib/sizes.ts';
import { type Changes, evictionCount, hitRatio } from '../admin/status-changes.ts';
import { bar, fractionOf, type Segment, stackedBar } from '../terminal/bars.ts';
import { drawLine, type Line, type Paint, type Span, type Tone } from '../terminal/line.ts';
import { displayWidth, pad } from '../terminal/table.ts';
import { adviceLines } from './advice.ts';

export interface ViewOptions {
  /** Where the service is, as a user writes it. */
  readonly place: string;
  /** No line is wider; Infinity where lines have no end. */
  readonly columns: number;
  readonly paint: Paint;
  /** What happened since the last look, where there was one. */
  readonly changes?: Changes | undefined;
  /** What went wrong with the last look; the status is then that of an earlier one. */
  readonly trouble?: string | undefined;
}

/** What stands left of the bars, and what their numbers take on the right. */
const LABEL_WIDTH_MIN = 8;
const LABEL_WIDTH_MAX = 16;
const NUMBERS_WIDTH = 44;
const BAR_WIDTH_MIN = 8;
const BAR_WIDTH_MAX = 40;

/** From this part of the dirty limit on, writes are soon slowed down. */
const DIRTY_WARNING = 0.7;
const DIRTY_BAD = 0.95;

/** How the lines of one status are laid out. */
interface Layout {
  readonly labelWidth: number;
  readonly barWidth: number;
}

function layoutFor(status: ServiceStatus, columns: number): Layout {
  const widest = Math.max(...status.layers.map(({ name }) => displayWidth(name)), 0);
  const labelWidth = Math.min(Math.max(widest, LABEL_WIDTH_MIN), LABEL_WIDTH_MAX);
  const left = columns - labelWidth - 1 - NUMBERS_WIDTH;
  return { labelWidth, barWidth: Math.min(Math.max(left, BAR_WIDTH_MIN), BAR_WIDTH_MAX) };
}

/** A label, what is behind it, and details with two spaces between them. */
function labelled(label: string, layout: Layout, shown: Line, details: readonly Line[]): Line {
  const separated = details.filter((line) => line.length > 0).flatMap((line) => ['  ', ...line]);
  return [{ text: `${pad(label, layout.labelWidth)} `, tone: 'title' }, ...shown, ...separated];
}

function titleLine(status: ServiceStatus, place: string): Line {
  const { version, uptimeSeconds, connections, isFrozen, isStopping, codec } = status;
  const clients = connections === 1 ? '1 connection' : `${formatCount(connections)} connections`;
  return [
    { text: `tmem ${version}`, tone: 'title' },
    ` at ${place}, up ${formatSeconds(uptimeSeconds)}, ${clients}, ${codec}`,
    ...(isFrozen ? ['  ', { text: 'frozen', tone: 'warning' } as const] : []),
    ...(isStopping ? ['  ', { text: 'stopping', tone: 'warning' } as const] : []),
  ];
}

function memoryLines(memory: MemoryStatus, layout: Layout): Line[] {
  const { dataBytes, metadataBytes, bufferBytes, limitBytes, freeableBytes } = memory;
  const parts: readonly (Segment & { readonly name: string })[] = [
    { name: 'data', value: dataBytes, glyph: '█', tone: 'data' },
    { name: 'metadata', value: metadataBytes, glyph: '▓', tone: 'metadata' },
    { name: 'buffers', value: bufferBytes, glyph: '▒', tone: 'buffers' },
  ];
  const usedBytes = dataBytes + metadataBytes + bufferBytes;
  const used = `${formatSize(usedBytes)} of ${formatSize(limitBytes)}`;
  const legend = parts.flatMap(({ name, value, glyph, tone }): (Span | string)[] => [
    { text: glyph, tone },
    ` ${name} ${formatSize(value)}  `,
  ]);
  return [
    labelled('memory', layout, stackedBar(parts, limitBytes, layout.barWidth), [[used]]),
    labelled('', layout, [...legend, `${formatSize(freeableBytes)} freeable`], []),
    ...pressureLines(memory, layout),
  ];
}

function pressureLines({ pressure, limitBytes, configuredLimitBytes }: MemoryStatus, at: Layout) {
  if (pressure === null) return [];
  const { reason, psiSomeAvg10 } = pressure;
  const isLowered = limitBytes < configuredLimitBytes;
  const psi = psiSomeAvg10 === null ? [] : [`PSI some ${psiSomeAvg10.toFixed(1)} %`];
  const lowered = isLowered ? [`limit lowered from ${formatSize(configuredLimitBytes)}`] : [];
  const shown: Line = [{ text: reason, tone: isLowered ? 'warning' : 'quiet' }];
  return [labelled('pressure', at, shown, [psi, lowered])];
}

function layerLines(layer: LayerStatus, changes: Changes | undefined, layout: Layout): Line[] {
  const { name, dataBytes, metadataBytes, limitBytes, pages, isFrozen } = layer;
  const usedBytes = dataBytes + metadataBytes;
  const pageCount = pages.raw + pages.compressed + pages.filled;
  const change = changes?.layers.get(name);
  const evicted =
    change === undefined
      ? `${formatCount(evictionCount(layer))} evicted`
      : `${formatRate(change.evictionsPerSecond)} evicted`;
  return [
    labelled(name, layout, bar(fractionOf(usedBytes, limitBytes), layout.barWidth, 'data'), [
      [`${formatSize(usedBytes)} of ${formatSize(limitBytes)}`],
      isFrozen ? [{ text: 'frozen', tone: 'warning' }] : [],
    ]),
    labelled('', layout, hitDetails(hitRatio(layer), change?.hitRatio, ' hits'), [
      [`${formatCount(pageCount)} pages`],
      [evicted],
    ]),
  ];
}

function hitDetails(total: number | undefined, lately: number | undefined, what = ''): Line {
  const all = total === undefined ? 'nothing read yet' : `${formatPercent(total)}${what}`;
  if (lately === undefined) return [all];
  return [all, { text: `  now ${formatPercent(lately)}`, tone: 'good' }];
}

/** How many bytes of content a byte of memory holds: `3.2×`. */
export function compression(
  { pages, memoryBytes, poolIds }: ExportStatus,
  pools: readonly PoolStatus[],
): string {
  const pool = pools.find(({ id }) => poolIds.includes(id));
  if (pool === undefined || pages === 0 || memoryBytes === 0) return '–';
  return `${((pages * pool.pageBytes) / memoryBytes).toFixed(2)}×`;
}

function dirtyTone(fraction: number, { state }: WriteBackStatus): Tone {
  if (state === 'failing' || fraction >= DIRTY_BAD) return 'bad';
  return fraction >= DIRTY_WARNING ? 'warning' : 'good';
}

function dirtyLines(writeBack: WriteBackStatus | null, layout: Layout): Line[] {
  if (writeBack === null) return [];
  const { dirtyBytes, limitBytes, state, oldestSeconds, failure } = writeBack;
  const fraction = fractionOf(dirtyBytes, limitBytes);
  const tone = dirtyTone(fraction, writeBack);
  const oldest = oldestSeconds > 0 ? [`oldest ${formatSeconds(oldestSeconds)}`] : [];
  const line = labelled('  dirty', layout, bar(fraction, layout.barWidth, tone), [
    [`${formatSize(dirtyBytes)} of ${formatSize(limitBytes)}`],
    [state === 'failing' ? { text: state, tone: 'bad' } : state],
    oldest,
  ]);
  const why: Line = [{ text: failure ?? '', tone: 'bad' }];
  return failure === null ? [line] : [line, labelled('', layout, why, [])];
}

function exportLines(
  each: ExportStatus,
  status: ServiceStatus,
  changes: Changes | undefined,
  layout: Layout,
): Line[] {
  const { name, mode, sizeBytes, pages, memoryBytes, below, reads, writeBack, advisor } = each;
  const change = changes?.exports.get(name);
  const ratio = hitRatio(reads);
  const rate = change === undefined ? [] : [`${formatRate(change.readsPerSecond)} read`];
  const ofMemory = fractionOf(memoryBytes, status.memory.limitBytes);
  const shared = below.pages === 0 ? '' : `, ${formatCount(below.pages)} of its base`;
  const facts = `  ${mode}, ${formatSize(sizeBytes)}, ${formatCount(pages)} pages cached${shared}`;
  return [
    [{ text: name, tone: 'title' }, facts],
    labelled('  hits', layout, bar(ratio ?? 0, layout.barWidth, 'good'), [
      hitDetails(ratio, change?.hitRatio),
      rate,
    ]),
    ...dirtyLines(writeBack, layout),
    labelled('  memory', layout, bar(ofMemory, layout.barWidth, 'data'), [
      [formatSize(memoryBytes)],
      [`${compression(each, status.pools)} compressed`],
    ]),
    ...(advisor === null
      ? []
      : adviceLines(advisor).map(({ label, shown }) => labelled(label, layout, shown, []))),
  ];
}

/** The whole status, a line end behind every line; paragraphs are parted by an empty one. */
export function formatStatus(status: ServiceStatus, options: ViewOptions): string {
  const { columns, place, paint, changes, trouble } = options;
  const layout = layoutFor(status, columns);
  const paragraphs: readonly (readonly Line[])[] = [
    [
      titleLine(status, place),
      ...(trouble === undefined ? [] : [[{ text: trouble, tone: 'bad' } as const]]),
    ],
    memoryLines(status.memory, layout),
    status.layers.flatMap((layer) => layerLines(layer, changes, layout)),
    ...status.exports.map((each) => exportLines(each, status, changes, layout)),
  ];
  return paragraphs
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.map((line) => `${drawLine(line, columns, paint)}\n`).join(''))
    .join('\n');
}
