/** Metrics of the stack: what each layer was asked, did and holds, and the memory it takes. */

import { counter, gauge, type MetricDefinition } from './definition.ts';
import type { LayerSource, MetricsSources } from './sources.ts';

/** Put outcomes that are no refusals, by their word in the vocabulary. */
const TAKEN: ReadonlySet<string> = new Set(['stored', 'replaced']);

/** A counter of pages that each layer keeps in one field. */
function pagesPerLayer(
  name: `${string}_total`,
  help: string,
  field: 'promoted' | 'pushedDown' | 'flushed' | 'corrupt',
): MetricDefinition {
  return counter(name, help, ['layer'], ({ layers }, set) => {
    for (const { name: layer, statistics } of layers) set(statistics[field], { layer });
  });
}

/** A counter of bytes that all layers have in common. */
function bytesOfAllLayers(
  name: `${string}_total`,
  help: string,
  field: 'originalBytes' | 'compressedBytes',
): MetricDefinition {
  return counter(name, help, [], ({ layers }, set) => {
    set(
      sumOver(layers, ({ statistics }) => statistics[field]),
      {},
    );
  });
}

export const LAYER_METRICS: readonly MetricDefinition[] = [
  counter(
    'tmem_gets_total',
    'Pages asked of a layer, by whether it held them; a miss goes on to the next layer.',
    ['layer', 'outcome'],
    ({ layers }, set) => {
      for (const { name: layer, statistics } of layers) {
        set(statistics.hits, { layer, outcome: 'hit' });
        set(statistics.misses, { layer, outcome: 'miss' });
      }
    },
  ),
  counter(
    'tmem_puts_total',
    'Pages offered to a layer: stored, replaced (an older version was there) or refused.',
    ['layer', 'outcome'],
    ({ layers, vocabulary }, set) => {
      for (const { name: layer, statistics } of layers) {
        let refused = 0;
        for (const [number, outcome] of vocabulary.putOutcomes.entries()) {
          const count = statistics.puts[number] ?? 0;
          if (TAKEN.has(outcome)) set(count, { layer, outcome });
          else refused += count;
        }
        set(refused, { layer, outcome: 'refused' });
      }
    },
  ),
  counter(
    'tmem_refusals_total',
    'Pages that a layer refused, each by exactly one reason.',
    ['layer', 'reason'],
    ({ layers, vocabulary }, set) => {
      for (const { name: layer, statistics } of layers) {
        for (const [number, reason] of vocabulary.putOutcomes.entries()) {
          if (!TAKEN.has(reason)) set(statistics.puts[number] ?? 0, { layer, reason });
        }
      }
    },
  ),
  counter(
    'tmem_evictions_total',
    'Pages that left a layer: for room (capacity), to give memory back (shrink), or because ' +
      'same-filled pages were at their cap (filled_cap).',
    ['layer', 'reason'],
    ({ layers }, set) => {
      for (const { name: layer, statistics } of layers) {
        set(statistics.evictedForCapacity, { layer, reason: 'capacity' });
        set(statistics.evictedForShrink, { layer, reason: 'shrink' });
        set(statistics.evictedForFilledCap, { layer, reason: 'filled_cap' });
      }
    },
  ),
  pagesPerLayer(
    'tmem_promoted_pages_total',
    'Pages copied up into a layer because they are wanted.',
    'promoted',
  ),
  pagesPerLayer(
    'tmem_pushed_down_pages_total',
    'Pages evicted from a layer that the next one took.',
    'pushedDown',
  ),
  pagesPerLayer(
    'tmem_flushed_pages_total',
    'Pages dropped from a layer by name, by object or with their pool.',
    'flushed',
  ),
  pagesPerLayer(
    'tmem_corrupt_pages_total',
    'Stored pages that did not decode; each was dropped and answered as a miss.',
    'corrupt',
  ),
  gauge(
    'tmem_pages',
    'Pages held, by how: raw, compressed or filled (four bytes that the page repeats).',
    ['layer', 'kind'],
    ({ layers }, set) => {
      for (const source of layers) {
        const layer = source.name;
        const usage = source.usage();
        set(usage.rawPages, { layer, kind: 'raw' });
        set(usage.compressedPages, { layer, kind: 'compressed' });
        set(usage.filledPages, { layer, kind: 'filled' });
      }
    },
  ),
  bytesOfAllLayers(
    'tmem_original_bytes_total',
    'Bytes of the pages that were compressed, before; same-filled pages are not among them.',
    'originalBytes',
  ),
  bytesOfAllLayers(
    'tmem_compressed_bytes_total',
    'Bytes of the same pages after; a page that was not worth it counts as it was.',
    'compressedBytes',
  ),
  gauge(
    'tmem_memory_bytes',
    'Memory in use: slabs of pages (data), index and queues (metadata), request buffers (buffers).',
    ['kind'],
    (sources, set) => {
      set(dataBytesOf(sources), { kind: 'data' });
      set(sumOver(sources.layers, (layer) => layer.usage().metadataBytes) + tableBytesOf(sources), {
        kind: 'metadata',
      });
      set(sources.memory.bufferBytes(), { kind: 'buffers' });
    },
  ),
  gauge('tmem_memory_limit_bytes', 'What all memory may come to.', [], ({ memory }, set) => {
    set(memory.limitBytes, {});
  }),
  gauge(
    'tmem_layer_memory_bytes',
    'Memory of one layer: slabs, with what is free in them (data), index and queues (metadata).',
    ['layer', 'kind'],
    ({ layers }, set) => {
      for (const source of layers) {
        const usage = source.usage();
        set(usage.dataBytes, { layer: source.name, kind: 'data' });
        set(usage.metadataBytes, { layer: source.name, kind: 'metadata' });
      }
    },
  ),
  gauge(
    'tmem_layer_memory_limit_bytes',
    'What data and metadata of one layer may come to.',
    ['layer'],
    ({ layers }, set) => {
      for (const source of layers) set(source.usage().limitBytes, { layer: source.name });
    },
  ),
  gauge(
    'tmem_layer_stored_bytes',
    'Bytes of the pages in a layer, as they are held; the rest of its data is free or lost.',
    ['layer'],
    ({ layers }, set) => {
      for (const source of layers) set(source.usage().storedBytes, { layer: source.name });
    },
  ),
];

/** Tables beside the layers: of dirty pages, and of overflow files. */
function tableBytesOf({ exports, overflows }: MetricsSources): number {
  let bytes = 0;
  for (const { writeBack } of exports) bytes += writeBack?.tier.table.metadataBytes ?? 0;
  for (const { metadataBytes } of overflows) bytes += metadataBytes;
  return bytes;
}

function dataBytesOf({ layers }: MetricsSources): number {
  return sumOver(layers, (layer) => layer.usage().dataBytes);
}

function sumOver(layers: readonly LayerSource[], measure: (layer: LayerSource) => number): number {
  let sum = 0;
  for (const layer of layers) sum += measure(layer);
  return sum;
}
