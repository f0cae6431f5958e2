/** A service's status for tests, whole and plausible, with whatever a test wants changed. */

import type {
  ExportStatus,
  LayerStatus,
  PoolStatus,
  ServiceStatus,
  ShareStatus,
} from '../../src/admin/api.ts';

const MIB = 1024 * 1024;

export const SHARE: ShareStatus = { weight: 100, capBytes: null, minimumBytes: 0 };

export function layerStatus(changes: Partial<LayerStatus> = {}): LayerStatus {
  return {
    name: 'zcache',
    isFrozen: false,
    limitBytes: 320 * MIB,
    dataBytes: 120 * MIB,
    metadataBytes: 8 * MIB,
    storedBytes: 110 * MIB,
    pages: { raw: 1000, compressed: 90_000, filled: 9000 },
    hits: 600,
    misses: 400,
    puts: { stored: 100_000, replaced: 12, limit: 3 },
    evictions: { capacity: 90, shrink: 8, filledCap: 2 },
    originalBytes: 400 * MIB,
    compressedBytes: 120 * MIB,
    ...changes,
  };
}

export function exportStatus(changes: Partial<ExportStatus> = {}): ExportStatus {
  return {
    name: 'disk.raw',
    mode: 'writethrough',
    sizeBytes: 16 * 1024 * MIB,
    image: '/srv/disk.raw',
    poolIds: [1],
    reads: { hits: 931, misses: 69 },
    pages: 51_200,
    memoryBytes: 80 * MIB,
    share: SHARE,
    writeBack: null,
    below: { pages: 0, memoryBytes: 0 },
    advisor: null,
    ...changes,
  };
}

export function poolStatus(changes: Partial<PoolStatus> = {}): PoolStatus {
  return {
    id: 1,
    owner: 'export:disk.raw',
    kind: 'ephemeral',
    isShared: false,
    pageBytes: 4096,
    pages: 51_200,
    bytes: 80 * MIB,
    share: SHARE,
    ...changes,
  };
}

export function serviceStatus(changes: Partial<ServiceStatus> = {}): ServiceStatus {
  return {
    version: '1.2.3',
    startedAt: '2026-01-02T03:04:05.678Z',
    uptimeSeconds: 11_520,
    isStopping: false,
    isFrozen: false,
    codec: 'lz4',
    connections: 4,
    memory: {
      configuredLimitBytes: 512 * MIB,
      limitBytes: 512 * MIB,
      dataBytes: 192 * MIB,
      metadataBytes: 64 * MIB,
      bufferBytes: 32 * MIB,
      freeableBytes: 240 * MIB,
      pressure: null,
    },
    layers: [
      layerStatus({ name: 'hot', limitBytes: 128 * MIB, dataBytes: 72 * MIB, metadataBytes: 0 }),
      layerStatus(),
    ],
    exports: [exportStatus()],
    pools: [poolStatus()],
    ...changes,
  };
}
