/**
 * The JSON of the API, as schemas: the service checks requests against them, its commands what they
 * are answered, and the API's document shows them. A type of `api.ts` and its schema are held
 * together by the compiler.
 */

import { z } from 'zod';
import type {
  AdvisorStatus,
  EstimateStatus,
  ExportStatus,
  LayerStatus,
  MemoryStatus,
  PointStatus,
  PoolStatus,
  RecordRequest,
  RecordStatus,
  ServiceStatus,
  ShareStatus,
  SnapshotStatus,
  WriteBackStatus,
} from './api.ts';
import { LABEL_SHAPE } from './http/parameters.ts';

/** Of what is answered with these members. */
export type Schema<Answer> = z.ZodType<Answer>;

const count = z.int().min(0);
const bytes = count;
const number = z.number().min(0);
const label = z
  .string()
  .regex(LABEL_SHAPE, 'one to 64 letters, digits, dots, dashes or underscores');

/** What `ShareStatus` is in the document. */
export const shareStatus: z.ZodType<ShareStatus> = z
  .strictObject({
    weight: z.int().min(1).max(10_000),
    capBytes: bytes.nullable(),
    minimumBytes: bytes,
  })
  .describe('How much of the memory an owner may have; a capBytes of null is no cap.');

/** What `MemoryStatus` is in the document. */
export const memoryStatus: z.ZodType<MemoryStatus> = z.strictObject({
  configuredLimitBytes: bytes,
  limitBytes: bytes,
  dataBytes: bytes,
  metadataBytes: bytes,
  bufferBytes: bytes,
  freeableBytes: bytes,
  pressure: z
    .strictObject({ reason: z.string(), psiSomeAvg10: number.nullable() })
    .nullable()
    .describe('Why the limit is where it is; null when nobody watches the machine.'),
});

const layerStatus: z.ZodType<LayerStatus> = z.strictObject({
  name: z.string(),
  isFrozen: z.boolean(),
  limitBytes: bytes,
  dataBytes: bytes,
  metadataBytes: bytes,
  storedBytes: bytes,
  pages: z.strictObject({ raw: count, compressed: count, filled: count }),
  hits: count,
  misses: count,
  puts: z.record(z.string(), count).describe('By outcome; the others are reasons of refusals.'),
  evictions: z.strictObject({ capacity: count, shrink: count, filledCap: count }),
  originalBytes: bytes,
  compressedBytes: bytes,
});

const writeBackStatus: z.ZodType<WriteBackStatus> = z.strictObject({
  dirtyBytes: bytes,
  limitBytes: bytes,
  state: z.enum(['clean', 'dirty', 'writing', 'failing']),
  oldestSeconds: number,
  failure: z.string().nullable(),
});

const ratio = z.number().min(0).max(1);
const point = { pages: count, bytes, missRatio: ratio, low: ratio, high: ratio };

const pointStatus: z.ZodType<PointStatus> = z
  .strictObject(point)
  .describe('A miss ratio with the bounds of its error band.');

const estimateStatus: z.ZodType<EstimateStatus> = z
  .strictObject({ memory: number, policy: z.string(), ...point })
  .describe('What a policy would miss with so many times the memory of now.');

const advisorStatus: z.ZodType<AdvisorStatus> = z
  .strictObject({
    advice: z.string(),
    reads: number,
    sampledReads: number,
    rate: ratio,
    sampledPages: count,
    footprintPages: count,
    memoryPages: count,
    pageBytes: bytes,
    realMissRatio: ratio,
    gap: z.number().min(-1).max(1),
    sizes: z.array(estimateStatus),
    others: z.array(estimateStatus),
    curve: z.array(pointStatus),
  })
  .describe('What other memory or another policy would do, by a sample of the pages.');

const exportStatus: z.ZodType<ExportStatus> = z.strictObject({
  name: z.string(),
  mode: z.string(),
  sizeBytes: bytes,
  image: z.string(),
  poolIds: z.array(z.int().min(1)),
  reads: z.strictObject({ hits: count, misses: count }),
  pages: count,
  memoryBytes: bytes,
  below: z
    .strictObject({ pages: count, memoryBytes: bytes })
    .describe('Of the images that it is based on, which others may share.'),
  share: shareStatus,
  writeBack: writeBackStatus.nullable(),
  advisor: advisorStatus.nullable(),
});

const poolStatus: z.ZodType<PoolStatus> = z.strictObject({
  id: z.int().min(1),
  owner: z.string().describe('export:NAME, image:PATH, client:NAME or shared:NAME.'),
  kind: z.enum(['ephemeral', 'persistent']),
  isShared: z.boolean(),
  pageBytes: bytes,
  pages: count,
  bytes,
  share: shareStatus,
});

/** What `ServiceStatus` is in the document. */
export const serviceStatus: z.ZodType<ServiceStatus> = z.strictObject({
  version: z.string(),
  startedAt: z.iso.datetime(),
  uptimeSeconds: number,
  isStopping: z.boolean(),
  isFrozen: z.boolean(),
  codec: z.string(),
  connections: count,
  memory: memoryStatus,
  layers: z.array(layerStatus),
  exports: z.array(exportStatus),
  pools: z.array(poolStatus),
});

/** What a snapshot saved. */
export const snapshotStatus: z.ZodType<SnapshotStatus> = z.strictObject({
  pages: count,
  bytes,
  changed: z
    .array(z.string())
    .describe('Images that were changed meanwhile: their pages will not be used.'),
  leftOut: z
    .array(z.string())
    .describe('Images that nothing can vouch for: their pages are not in it.'),
});

const share = z.number().gt(0).max(1);

/** What `RecordStatus` is in the document. */
export const recordStatus: z.ZodType<RecordStatus> = z.strictObject({
  isRecording: z.boolean(),
  canRecord: z.boolean().describe('Whether the service was given a place for recordings.'),
  file: z.string().nullable().describe('Of the recording under way, or else of the last.'),
  startedAt: z.iso.datetime().nullable(),
  requests: count,
  dropped: count.describe('Requests left out because the disk was slower.'),
  bytes,
  limitBytes: bytes,
  sampleRate: share,
  leftBytes: bytes.describe('What further recordings may come to.'),
  ending: z.enum(['asked', 'limit', 'failed']).nullable(),
  failure: z.string().nullable(),
});

/** The body of `POST /v1/record`, which may be left out. */
export const recordRequest: z.ZodType<RecordRequest> = z.strictObject({
  limitBytes: z.int().min(65_536).optional().describe('The most is what is left.'),
  sampleRate: share.optional().describe('The share of the pages that is recorded.'),
});

/** The body of `PUT /v1/memory`. */
export const memoryChange = z.strictObject({ limitBytes: z.int().min(1) });

/** The body of `POST /v1/shrink`. */
export const shrinkRequest = z.strictObject({ bytes: z.int().min(1) });

/** The body of a change of a share; what is left out stays. */
export const shareChange = z
  .strictObject({
    weight: z.int().min(1).max(10_000).optional(),
    capBytes: bytes.nullable().optional(),
    minimumBytes: bytes.optional(),
  })
  .refine((change) => Object.keys(change).length > 0, 'give a weight, capBytes or minimumBytes');

/** The longest that a drain waits, seconds. */
const DRAIN_SECONDS_MAX = 3600;

/** The body of a drain, which may be left out. */
export const drainRequest = z.strictObject({
  timeoutSeconds: z.number().min(0).max(DRAIN_SECONDS_MAX).default(60),
});

/** The body of `POST /v1/pools`. */
export const poolRequest = z.strictObject({
  kind: z.enum(['ephemeral', 'persistent']),
  pageBytes: z.int().default(4096).describe('A power of two from 4096.'),
  isExclusive: z.boolean().default(false).describe('A get that hits takes the page out.'),
  sharedName: label
    .optional()
    .describe('Joins the shared pool of that name, which the client was granted.'),
  client: label.default('anonymous').describe('Who asks; limits are for each client.'),
});

const poolCreated = z.strictObject({
  id: z.int().min(1),
  key: z.string().describe('To be sent as tmem-pool-key with every call on the pool.'),
  kind: z.enum(['ephemeral', 'persistent']),
  pageBytes: bytes,
  isExclusive: z.boolean(),
  isShared: z.boolean(),
});

/** What a check of an image found; see `CheckReport`. */
export const checkReport = z.strictObject({
  formatName: z.string(),
  corruptions: count,
  leaks: count,
  errors: count.describe('Tables that could not be read.'),
  corruptionsFixed: count,
  leaksFixed: count,
  totalUnits: count,
  allocatedUnits: count,
  compressedUnits: count,
  fragmentedUnits: count,
  imageEndOffset: bytes,
  findings: z.array(
    z.strictObject({
      kind: z.enum(['corruption', 'leak', 'error']),
      message: z.string(),
      isRepaired: z.boolean(),
    }),
  ),
});

const problem = z.strictObject({
  title: z.string(),
  status: z.int(),
  detail: z.string().describe('One sentence that says what to do.'),
  reason: z.string().optional().describe('Of a refused page: why.'),
  index: z.int().optional().describe('Of a refused or missing page: its index.'),
  isClean: z.boolean().optional(),
  dirtyBytes: bytes.optional(),
});

export const layerList = z.strictObject({ layers: z.array(layerStatus) });
export const exportList = z.strictObject({ exports: z.array(exportStatus) });
export const poolList = z.strictObject({ pools: z.array(poolStatus) });
export const frozenAnswer = z.strictObject({ isFrozen: z.boolean() });
export const freeableAnswer = z.strictObject({ freeableBytes: bytes });
export const freedAnswer = z.strictObject({ freedBytes: bytes });
export const flushedAnswer = z.strictObject({ flushedPages: count });
export const drainedAnswer = z.strictObject({ isClean: z.boolean(), dirtyBytes: bytes });

/** Every schema that the API's document names. */
export const SCHEMAS: Readonly<Record<string, z.ZodType>> = {
  ServiceStatus: serviceStatus,
  MemoryStatus: memoryStatus,
  LayerStatus: layerStatus,
  ExportStatus: exportStatus,
  WriteBackStatus: writeBackStatus,
  AdvisorStatus: advisorStatus,
  EstimateStatus: estimateStatus,
  PointStatus: pointStatus,
  PoolStatus: poolStatus,
  ShareStatus: shareStatus,
  LayerList: layerList,
  ExportList: exportList,
  PoolList: poolList,
  Frozen: frozenAnswer,
  Freeable: freeableAnswer,
  Freed: freedAnswer,
  Flushed: flushedAnswer,
  Drained: drainedAnswer,
  Snapshot: snapshotStatus,
  CheckReport: checkReport,
  Grant: z.strictObject({
    client: label,
    sharedName: label,
    key: z.string().describe('To be sent as tmem-grant-key when the client joins the pool.'),
  }),
  Revoked: z.strictObject({ destroyedPools: count }),
  PoolCreated: poolCreated,
  PutOutcome: z.strictObject({ outcome: z.enum(['stored', 'replaced']) }),
  ObjectStored: z.strictObject({ pages: count }),
  MemoryChange: memoryChange,
  ShrinkRequest: shrinkRequest,
  ShareChange: shareChange,
  DrainRequest: drainRequest,
  RecordStatus: recordStatus,
  RecordRequest: recordRequest,
  PoolRequest: poolRequest,
  Problem: problem,
  Document: z.looseObject({ openapi: z.string() }),
};
