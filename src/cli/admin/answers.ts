/** The forms of what the administrative API answers; the compiler holds them to its types. */

import type {
  AdvisorStatus,
  EstimateStatus,
  ExportStatus,
  LayerStatus,
  MemoryStatus,
  PointStatus,
  PoolStatus,
  RecordStatus,
  ServiceStatus,
  ShareStatus,
  WriteBackStatus,
} from '../../admin/api.ts';
import { flag, listOf, mapOf, members, number, orNull, text, word } from './forms.ts';

export const SHARE = members<ShareStatus>({
  weight: number,
  capBytes: orNull(number),
  minimumBytes: number,
});

export const MEMORY = members<MemoryStatus>({
  configuredLimitBytes: number,
  limitBytes: number,
  dataBytes: number,
  metadataBytes: number,
  bufferBytes: number,
  freeableBytes: number,
  pressure: orNull(members({ reason: text, psiSomeAvg10: orNull(number) })),
});

export const LAYER = members<LayerStatus>({
  name: text,
  isFrozen: flag,
  limitBytes: number,
  dataBytes: number,
  metadataBytes: number,
  storedBytes: number,
  pages: members({ raw: number, compressed: number, filled: number }),
  hits: number,
  misses: number,
  puts: mapOf(number),
  evictions: members({ capacity: number, shrink: number, filledCap: number }),
  originalBytes: number,
  compressedBytes: number,
});

const WRITE_BACK = members<WriteBackStatus>({
  dirtyBytes: number,
  limitBytes: number,
  state: word('clean', 'dirty', 'writing', 'failing'),
  oldestSeconds: number,
  failure: orNull(text),
});

const POINT = { pages: number, bytes: number, missRatio: number, low: number, high: number };
const ESTIMATE = members<EstimateStatus>({ ...POINT, memory: number, policy: text });

const ADVISOR = members<AdvisorStatus>({
  advice: text,
  reads: number,
  sampledReads: number,
  rate: number,
  sampledPages: number,
  footprintPages: number,
  memoryPages: number,
  pageBytes: number,
  realMissRatio: number,
  gap: number,
  sizes: listOf(ESTIMATE),
  others: listOf(ESTIMATE),
  curve: listOf(members<PointStatus>(POINT)),
});

export const EXPORT = members<ExportStatus>({
  name: text,
  mode: text,
  sizeBytes: number,
  image: text,
  poolIds: listOf(number),
  reads: members({ hits: number, misses: number }),
  pages: number,
  memoryBytes: number,
  below: members({ pages: number, memoryBytes: number }),
  share: SHARE,
  writeBack: orNull(WRITE_BACK),
  advisor: orNull(ADVISOR),
});

export const POOL = members<PoolStatus>({
  id: number,
  owner: text,
  kind: word('ephemeral', 'persistent'),
  isShared: flag,
  pageBytes: number,
  pages: number,
  bytes: number,
  share: SHARE,
});

export const STATUS = members<ServiceStatus>({
  version: text,
  startedAt: text,
  uptimeSeconds: number,
  isStopping: flag,
  isFrozen: flag,
  codec: text,
  connections: number,
  memory: MEMORY,
  layers: listOf(LAYER),
  exports: listOf(EXPORT),
  pools: listOf(POOL),
});

export const RECORD = members<RecordStatus>({
  isRecording: flag,
  canRecord: flag,
  file: orNull(text),
  startedAt: orNull(text),
  requests: number,
  dropped: number,
  bytes: number,
  limitBytes: number,
  sampleRate: number,
  leftBytes: number,
  ending: orNull(word('asked', 'limit', 'failed')),
  failure: orNull(text),
});
