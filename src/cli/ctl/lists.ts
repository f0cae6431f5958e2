/** The verbs of `tmem ctl` that list what there is, a line each. */

import type { ExportStatus, LayerStatus, PoolStatus } from '../../admin/api.ts';
import { exportList, layerList, poolList, type Schema } from '../../admin/schemas.ts';
import { formatCount, formatPercent } from '../../lib/quantities.ts';
import { formatSize } from '../../lib/sizes.ts';
import { evictionCount, hitRatio } from '../admin/status-changes.ts';
import { type Column, formatTable } from '../terminal/table.ts';
import { formatCap } from './owners.ts';
import type { Verb } from './verb.ts';

function ratio(counts: Parameters<typeof hitRatio>[0]): string {
  const hits = hitRatio(counts);
  return hits === undefined ? '–' : formatPercent(hits);
}

const POOL_COLUMNS: readonly Column<PoolStatus>[] = [
  { title: 'POOL', cell: ({ id }) => `pool:${id}` },
  { title: 'OWNER', cell: ({ owner }) => owner },
  { title: 'KIND', cell: ({ kind, isShared }) => `${kind}${isShared ? ', shared' : ''}` },
  { title: 'PAGE', align: 'right', cell: ({ pageBytes }) => formatSize(pageBytes) },
  { title: 'PAGES', align: 'right', cell: ({ pages }) => formatCount(pages) },
  { title: 'MEMORY', align: 'right', cell: ({ bytes }) => formatSize(bytes) },
  { title: 'WEIGHT', align: 'right', cell: ({ share }) => `${share.weight}` },
  { title: 'CAP', align: 'right', cell: ({ share }) => formatCap(share) },
  { title: 'MINIMUM', align: 'right', cell: ({ share }) => formatSize(share.minimumBytes) },
];

const EXPORT_COLUMNS: readonly Column<ExportStatus>[] = [
  { title: 'EXPORT', cell: ({ name }) => name },
  { title: 'MODE', cell: ({ mode }) => mode },
  { title: 'SIZE', align: 'right', cell: ({ sizeBytes }) => formatSize(sizeBytes) },
  { title: 'HITS', align: 'right', cell: ({ reads }) => ratio(reads) },
  { title: 'PAGES', align: 'right', cell: ({ pages }) => formatCount(pages) },
  { title: 'MEMORY', align: 'right', cell: ({ memoryBytes }) => formatSize(memoryBytes) },
  {
    title: 'DIRTY',
    align: 'right',
    cell: ({ writeBack }) => (writeBack === null ? '–' : formatSize(writeBack.dirtyBytes)),
  },
  { title: 'POOLS', cell: ({ poolIds }) => poolIds.map((id) => `pool:${id}`).join(',') },
  { title: 'IMAGE', cell: ({ image }) => image },
];

const LAYER_COLUMNS: readonly Column<LayerStatus>[] = [
  { title: 'LAYER', cell: ({ name }) => name },
  { title: 'STATE', cell: ({ isFrozen }) => (isFrozen ? 'frozen' : 'open') },
  { title: 'LIMIT', align: 'right', cell: ({ limitBytes }) => formatSize(limitBytes) },
  { title: 'DATA', align: 'right', cell: ({ dataBytes }) => formatSize(dataBytes) },
  { title: 'METADATA', align: 'right', cell: ({ metadataBytes }) => formatSize(metadataBytes) },
  { title: 'RAW', align: 'right', cell: ({ pages }) => formatCount(pages.raw) },
  { title: 'COMPRESSED', align: 'right', cell: ({ pages }) => formatCount(pages.compressed) },
  { title: 'FILLED', align: 'right', cell: ({ pages }) => formatCount(pages.filled) },
  { title: 'HITS', align: 'right', cell: (layer) => ratio(layer) },
  { title: 'EVICTED', align: 'right', cell: (layer) => formatCount(evictionCount(layer)) },
];

/** A verb that lists what the API has under its name. */
function list<Name extends string, Row>(
  name: Name,
  schema: Schema<Readonly<Record<Name, readonly Row[]>>>,
  summary: string,
  about: string,
  columns: readonly Column<Row>[],
): Verb {
  return {
    name,
    operands: '',
    operandsMin: 0,
    operandsMax: 0,
    summary,
    about,
    run: async ({ client }) => {
      const answer = await client.ask('GET', `/v1/${name}`, schema);
      return { json: answer, text: formatTable(columns, answer[name]) };
    },
  };
}

export const LIST_VERBS: readonly Verb[] = [
  list(
    'pools',
    poolList,
    'list the pools',
    'One line for each pool: whose it is, what it holds, and its share of the memory.',
    POOL_COLUMNS,
  ),
  list(
    'exports',
    exportList,
    'list the exports',
    'One line for each export: its hit ratio, what it holds in memory, and what is not on its image.',
    EXPORT_COLUMNS,
  ),
  list(
    'layers',
    layerList,
    'list the layers, from the top down',
    'One line for each layer: what it holds of what it may, pages by form, hits and evictions.',
    LAYER_COLUMNS,
  ),
];
