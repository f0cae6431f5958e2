/** What the parts of a service hold and did, in the words of the administrative API. */

import type {
  AdvisorStatus,
  ExportStatus,
  LayerStatus,
  PoolStatus,
  ShareStatus,
  WriteBackStatus,
} from '../../admin/api.ts';
import type { Export } from '../../export/export.ts';
import type { DirtyPages } from '../../export/pages/dirty-pages.ts';
import type { WriteBack } from '../../export/writes/write-back.ts';
import type { Account } from '../../tmem/account.ts';
import { type Layer, PUT_OUTCOME_NAMES } from '../../tmem/layer.ts';
import type { Pool } from '../../tmem/pool.ts';

const MS_PER_SECOND = 1000;

export function layerStatus(layer: Layer): LayerStatus {
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

/** What all layers hold, and what of it may go. */
export function memoryUsage(layers: readonly Layer[]): {
  readonly dataBytes: number;
  readonly metadataBytes: number;
  readonly freeableBytes: number;
} {
  let dataBytes = 0;
  let metadataBytes = 0;
  let persistentBytes = 0;
  for (const layer of layers) {
    const usage = layer.usage();
    dataBytes += usage.dataBytes;
    metadataBytes += usage.metadataBytes;
    persistentBytes += usage.persistentBytes;
  }
  // Metadata goes with its pages only in part: what is promised is the data.
  const freeableBytes = Math.max(0, dataBytes - persistentBytes);
  return { dataBytes, metadataBytes, freeableBytes };
}

export function shareOf({ weight, capBytes, minimumBytes }: Account): ShareStatus {
  return { weight, capBytes: Number.isFinite(capBytes) ? capBytes : null, minimumBytes };
}

export function exportStatus(each: Export, advisor: AdvisorStatus | null): ExportStatus {
  const { account } = each.cache.pool; // that of its dirty pages too
  const dirty = each.dirtyPool;
  return {
    name: each.name,
    mode: each.mode,
    sizeBytes: each.sizeBytes,
    image: each.image.name,
    poolIds: dirty === undefined ? [each.cache.pool.id] : [each.cache.pool.id, dirty.id],
    reads: { hits: each.statistics.readHits, misses: each.statistics.readMisses },
    pages: account.pages,
    memoryBytes: account.usedBytes,
    below: belowOf(each),
    share: shareOf(account),
    writeBack: each.writeBack === undefined ? null : writeBackStatus(each.writeBack, each),
    advisor,
  };
}

/** What is cached of the images below that of an export. */
function belowOf({ pages }: Export): ExportStatus['below'] {
  const accounts = pages.chain?.baseCaches.map(({ pool }) => pool.account) ?? [];
  return {
    pages: accounts.reduce((sum, account) => sum + account.pages, 0),
    memoryBytes: accounts.reduce((sum, account) => sum + account.usedBytes, 0),
  };
}

export function poolStatus(pool: Pool, owner: string): PoolStatus {
  const { pages, usedBytes } = pool.usage;
  return {
    id: pool.id,
    owner,
    kind: pool.isPersistent ? 'persistent' : 'ephemeral',
    isShared: pool.isShared,
    pageBytes: pool.pageBytes,
    pages,
    bytes: usedBytes,
    share: shareOf(pool.account),
  };
}

/** Whose each pool of an export is, as a status says it. */
export function exportOwners(exports: readonly Export[]): ReadonlyMap<Pool, string> {
  const owners = new Map<Pool, string>();
  for (const { name, cache, pages, dirtyPool } of exports) {
    for (const { pool } of pages.chain?.baseCaches ?? []) {
      owners.set(pool, `image:${pool.account.name}`);
    }
    for (const pool of [cache.pool, dirtyPool]) {
      if (pool === undefined) continue;
      const others = owners.get(pool);
      owners.set(pool, others === undefined ? `export:${name}` : `${others},export:${name}`);
    }
  }
  return owners;
}

function writeBackStatus(
  { tier, limitPages, writer }: WriteBack,
  { dirtyBytes, pageBytes }: Export,
): WriteBackStatus {
  const { table } = tier;
  const ageMs = table.count === 0 ? 0 : performance.now() - table.oldestSince;
  return {
    dirtyBytes,
    limitBytes: limitPages * pageBytes,
    state: stateOf(tier.table, writer.failure !== undefined),
    oldestSeconds: Math.max(0, ageMs / MS_PER_SECOND),
    failure: writer.failure?.message ?? null,
  };
}

function stateOf(
  { count, writingCount }: DirtyPages,
  hasFailed: boolean,
): WriteBackStatus['state'] {
  if (hasFailed) return 'failing';
  if (count === 0) return 'clean';
  return writingCount > 0 ? 'writing' : 'dirty';
}
