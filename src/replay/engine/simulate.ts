/** The `sizes` engine: one policy at one size on a stream of page numbers, without any data. */
import { TmemError } from '../../lib/errors.ts';
import { MAX_CHARGE_BYTES } from '../../policy/policy.ts';
import { identityOf, measure } from './measure.ts';
import { closeNextUses, keptNextUsesOf, type NextUses } from './next-uses.ts';
import type { PageStream } from './page-stream.ts';
import { type PolicySpec, parsePolicy } from './policy-specs.ts';
import type { Run, RunResult } from './run.ts';
import { SimulatedCache } from './simulated-cache.ts';

/** What several runs of a stream share. */
export interface SimulateContext {
  /**
   * Bytes that each page charges in a run with `capacityBytes`, by page number, metadata included.
   * If not given, each charges a page.
   */
  readonly charges?: Uint32Array | undefined;
  /** Made by `keptNextUsesOf` if belady is run more than once; else it is made for each run. */
  readonly nextUses?: NextUses | undefined;
  /** Told after each of `SERIES_POINTS` parts how many requests are done. */
  readonly onProgress?: (doneRequests: number) => void;
}

/** Runs to the end. Throws a usage error for what cannot be run. */
export function simulate(stream: PageStream, run: Run, context: SimulateContext = {}): RunResult {
  const startMs = performance.now();
  const spec = checkRun(stream, run);
  const size = sizeOf(stream, run, context);
  const isOurs = spec.needsFuture && context.nextUses === undefined;
  const nextUses = isOurs ? keptNextUsesOf(stream) : context.nextUses;
  const future = spec.needsFuture ? nextUses : undefined;
  try {
    const cache = new SimulatedCache(stream, { spec, ...size, nextUses: future, scan: run.scan });
    const measured = measure(stream, cache, run, context.onProgress);
    return {
      ...identityOf(stream, run, spec.label),
      ...measured,
      elapsedMs: performance.now() - startMs,
    };
  } finally {
    if (isOurs) closeNextUses(nextUses);
  }
}

/** Throws a usage error for a run that makes no sense on this stream; answers its policy. */
export function checkRun(stream: PageStream, run: Run): PolicySpec {
  const spec = parsePolicy(run.policy);
  const { capacityPages, capacityBytes, warmupRequests = 0 } = run;
  if ((capacityPages === undefined) === (capacityBytes === undefined)) {
    refuse(`a run of ${run.policy} needs a capacity, either in pages or in bytes`);
  }
  const capacity = capacityPages ?? capacityBytes ?? 0;
  if (!(Number.isSafeInteger(capacity) && capacity >= 1)) {
    const unit = capacityPages === undefined ? 'bytes' : 'pages';
    refuse(`a capacity of ${capacity} ${unit} cannot be; choose a whole number from 1`);
  }
  if (capacityBytes !== undefined && capacityBytes < stream.pageBytes) {
    refuse(`a capacity of ${capacityBytes} bytes holds no page of ${stream.pageBytes}; take more`);
  }
  if (!(Number.isSafeInteger(warmupRequests) && warmupRequests >= 0)) {
    refuse(`a warm-up of ${warmupRequests} requests cannot be; choose a whole number from 0`);
  }
  if (run.scan !== undefined && (spec.needsFuture || capacityBytes !== undefined)) {
    throw new Error(`a scan in a run of ${run.policy}, which has to be in pages and not of belady`);
  }
  return spec;
}

function sizeOf(stream: PageStream, run: Run, { charges }: SimulateContext) {
  const { capacityPages, capacityBytes = 0 } = run;
  if (capacityPages !== undefined) return { capacity: capacityPages };
  if (charges === undefined) return { capacity: Math.floor(capacityBytes / stream.pageBytes) };
  if (charges.length < stream.pageCount) {
    throw new Error(`charges of ${charges.length} pages for a stream of ${stream.pageCount}`);
  }
  for (const charge of charges) {
    if (charge >= 1 && charge <= MAX_CHARGE_BYTES) continue;
    refuse(`a page cannot charge ${charge} bytes; it is from 1 to ${MAX_CHARGE_BYTES}`);
  }
  return { capacity: capacityBytes, charges };
}

function refuse(message: string): never {
  throw new TmemError('usage', message);
}
