/**
 * The `full` engine: a stream through the real layers, hot over zcache, with pages of real bytes.
 * What `sizes` leaves out is in it: what compression, slabs and metadata make of a budget, pages
 * that are refused, and which layer answers. It is some hundred times slower.
 */
import { loadCodec } from '../../layers/codec.ts';
import { Hot } from '../../layers/hot.ts';
import { HOT_FRACTION_DEFAULT, hotBytesOf } from '../../layers/hot-bytes.ts';
import { Zcache } from '../../layers/zcache.ts';
import { TmemError } from '../../lib/errors.ts';
import { policyFactoryFor } from '../../policy/policies.ts';
import type { PolicyFactory } from '../../policy/policy.ts';
import type { Layer } from '../../tmem/layer.ts';
import { checkPageBytes, Tmem } from '../../tmem/tmem.ts';
import { FullCache, pagesOf } from './full-cache.ts';
import { identityOf, measure } from './measure.ts';
import { type PageContents, SynthesisedContents } from './page-contents.ts';
import type { PageStream } from './page-stream.ts';
import type { Run, RunResult } from './run.ts';
import { SwapCache } from './swap-cache.ts';

/** Which front end the stream meets, what its pages hold, and who hears how far a run is. */
export interface FullContext {
  /**
   * `clean`, the default: accesses read through a cache of clean pages. `swap`: writes store pages
   * that may not vanish, reads get them back; needs a stream of all operations.
   */
  readonly frontend?: 'clean' | 'swap';
  /** Default `SynthesisedContents` of the mixed model. */
  readonly contents?: PageContents;
  readonly onProgress?: (doneRequests: number) => void;
}

/** What one layer did, warm-up included, and what it holds at the end. */
export interface TierResult {
  readonly name: string;
  readonly limitBytes: number;
  readonly hits: number;
  readonly misses: number;
  /** Evicted pages that the layer below took. */
  readonly pushedDown: number;
  readonly pages: number;
  readonly dataBytes: number;
  readonly metadataBytes: number;
  /** Bytes of the pages that were encoded here, before and after. */
  readonly originalBytes: number;
  readonly compressedBytes: number;
}

export interface FullResult extends RunResult {
  /** From the top down. */
  readonly tiers: readonly TierResult[];
  /** Pages that no layer took, warm-up included. */
  readonly refusals: number;
  /**
   * The most pages that the layers held at any time, each for as many layers as it was in; of swap,
   * where pages may not vanish, 0.
   */
  readonly pagesHeldMax: number;
  /** How the contents were made. */
  readonly contents: string;
}

/** Hashes of pages decide which ghosts are mistaken for others: the same ones each time. */
const INDEX_SEED = 1;
/** The least that a stack of layers takes. */
export const MEMORY_BYTES_MIN = 1024 * 1024;

/**
 * Runs to the end, with a policy that `serve --policy` takes. The capacity is the memory that all
 * layers together may take, data and metadata, at least a mebibyte. Throws a usage error for what
 * cannot be run.
 */
export function runFull(
  stream: PageStream,
  run: Omit<Run, 'scan'>,
  context: FullContext = {},
): FullResult {
  const startMs = performance.now();
  const { pageBytes } = stream;
  checkPageBytes(pageBytes);
  const memoryBytes = run.capacityPages * pageBytes;
  if (!(Number.isSafeInteger(memoryBytes) && memoryBytes >= MEMORY_BYTES_MIN)) {
    throw new TmemError('usage', `${memoryBytes} bytes are no stack; give it at least 1MiB`);
  }
  if (context.frontend === 'swap' && stream.ops !== 'all') {
    throw new TmemError('usage', 'swap is made of writes and reads; replay it with --ops all');
  }
  const layers = createLayers(memoryBytes, pageBytes, policyFactoryFor(run.policy));
  const tmem = new Tmem(layers);
  const contents = context.contents ?? new SynthesisedContents(stream, pageBytes);
  const Cache = context.frontend === 'swap' ? SwapCache : FullCache;
  const cache = new Cache(stream, tmem, pageBytes, contents);
  const measured = measure(stream, cache, run, context.onProgress);
  return {
    ...identityOf(stream, run),
    ...measured,
    tiers: layers.map(tierOf),
    refusals: cache.refusals,
    pagesHeldMax: cache instanceof FullCache ? cache.pagesHeldMax : 0,
    contents: contents.description,
    elapsedMs: performance.now() - startMs,
  };
}

function createLayers(memoryBytes: number, pageBytesMax: number, policy: PolicyFactory): Layer[] {
  const hotBytes = hotBytesOf(memoryBytes, HOT_FRACTION_DEFAULT);
  const common = { pageBytesMax, policy, indexSeed: INDEX_SEED };
  const zcache = new Zcache({ ...common, limitBytes: memoryBytes - hotBytes, codec: loadCodec() });
  if (hotBytes === 0) return [zcache];
  return [new Hot({ ...common, limitBytes: hotBytes, next: zcache }), zcache];
}

function tierOf(layer: Layer): TierResult {
  const { statistics } = layer;
  const usage = layer.usage();
  return {
    name: layer.name,
    limitBytes: usage.limitBytes,
    hits: statistics.hits,
    misses: statistics.misses,
    pushedDown: statistics.pushedDown,
    pages: pagesOf(layer),
    dataBytes: usage.dataBytes,
    metadataBytes: usage.metadataBytes,
    originalBytes: statistics.originalBytes,
    compressedBytes: statistics.compressedBytes,
  };
}
