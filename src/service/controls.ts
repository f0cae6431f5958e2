/** The service as its administrative API sees it: one object that reads and turns its parts. */

import type {
  ExportStatus,
  LayerStatus,
  MemoryStatus,
  PoolStatus,
  ServiceStatus,
  ShareStatus,
} from '../admin/api.ts';
import type { Controls } from '../admin/controls.ts';
import type { Export } from '../export/export.ts';
import { packageVersion } from '../lib/package-version.ts';
import type { ServerStatistics } from '../nbd/statistics.ts';
import { type Layer, PUT_OUTCOME_NAMES } from '../tmem/layer.ts';
import type { Pool, Tmem } from '../tmem/tmem.ts';

const MS_PER_SECOND = 1000;
/** The share of whoever was given none. */
const DEFAULT_SHARE: ShareStatus = { weight: 100, capBytes: null, minimumBytes: 0 };

export interface ControlledParts {
  readonly tmem: Tmem;
  readonly exports: readonly Export[];
  readonly server: ServerStatistics;
  readonly memory: { readonly limitBytes: number; readonly bufferBytes: () => number };
  readonly codecName: string;
  readonly isStopping: () => boolean;
}

export class ServiceControls implements Controls {
  readonly #parts: ControlledParts;
  readonly #startedAt = new Date();

  constructor(parts: ControlledParts) {
    this.#parts = parts;
  }

  status(): ServiceStatus {
    const { tmem, exports, server, codecName } = this.#parts;
    return {
      version: packageVersion(),
      startedAt: this.#startedAt.toISOString(),
      uptimeSeconds: Math.max(0, Date.now() - this.#startedAt.getTime()) / MS_PER_SECOND,
      isStopping: this.#parts.isStopping(),
      isFrozen: tmem.layers.every(({ isFrozen }) => isFrozen),
      codec: codecName,
      connections: server.connections,
      memory: this.#memory(),
      layers: tmem.layers.map(layerStatus),
      exports: exports.map(exportStatus),
      pools: this.#pools(),
    };
  }

  #memory(): MemoryStatus {
    const { tmem, memory } = this.#parts;
    let dataBytes = 0;
    let metadataBytes = 0;
    for (const layer of tmem.layers) {
      const usage = layer.usage();
      dataBytes += usage.dataBytes;
      metadataBytes += usage.metadataBytes;
    }
    return {
      configuredLimitBytes: memory.limitBytes,
      limitBytes: memory.limitBytes,
      dataBytes,
      metadataBytes,
      bufferBytes: memory.bufferBytes(),
      freeableBytes: dataBytes,
      pressure: null,
    };
  }

  #pools(): PoolStatus[] {
    const { tmem, exports } = this.#parts;
    return [...tmem.pools].map((pool) => poolStatus(pool, ownerOf(pool, exports)));
  }
}

function layerStatus(layer: Layer): LayerStatus {
  const { name, isFrozen, statistics } = layer;
  const usage = layer.usage();
  return {
    name,
    isFrozen,
    limitBytes: usage.limitBytes,
    dataBytes: usage.dataBytes,
    metadataBytes: usage.metadataBytes,
    storedBytes: usage.storedBytes,
    pages: {
      raw: usage.rawPages,
      compressed: usage.compressedPages,
      filled: usage.filledPages,
    },
    hits: statistics.hits,
    misses: statistics.misses,
    puts: Object.fromEntries(PUT_OUTCOME_NAMES.map((name, i) => [name, statistics.puts[i] ?? 0])),
    evictions: {
      capacity: statistics.evictedForCapacity,
      shrink: statistics.evictedForShrink,
      filledCap: statistics.evictedForFilledCap,
    },
    originalBytes: statistics.originalBytes,
    compressedBytes: statistics.compressedBytes,
  };
}

function exportStatus(each: Export): ExportStatus {
  return {
    name: each.name,
    mode: each.isReadOnly ? 'read-only' : 'writethrough',
    sizeBytes: each.sizeBytes,
    image: each.image.name,
    poolIds: [each.cache.pool.id],
    reads: { hits: each.statistics.readHits, misses: each.statistics.readMisses },
    pages: 0,
    memoryBytes: 0,
    share: DEFAULT_SHARE,
    writeBack: null,
  };
}

function poolStatus(pool: Pool, owner: string): PoolStatus {
  return {
    id: pool.id,
    owner,
    kind: pool.isPersistent ? 'persistent' : 'ephemeral',
    isShared: pool.isShared,
    pageBytes: pool.pageBytes,
    pages: 0,
    bytes: 0,
    share: DEFAULT_SHARE,
  };
}

function ownerOf(pool: Pool, exports: readonly Export[]): string {
  const owners = exports.filter(({ cache }) => cache.pool === pool);
  return owners.map(({ name }) => `export:${name}`).join(',');
}
