/** The `sizes` engine: one policy at one size on a stream of page numbers, without any data. */
import { refuse } from '../../lib/errors.ts';
import { identityOf, measure } from './measure.ts';
import { closeNextUses, keptNextUsesOf, type NextUses } from './next-uses.ts';
import type { PageStream } from './page-stream.ts';
import { type PolicySpec, parsePolicy } from './policy-specs.ts';
import type { Run, RunResult } from './run.ts';
import { SimulatedCache } from './simulated-cache.ts';

/** What several runs of a stream share. */
export interface SimulateContext {
  /** Made by `keptNextUsesOf` if belady is run more than once; else it is made for each run. */
  readonly nextUses?: NextUses | undefined;
  /** Told after each of `SERIES_POINTS` parts how many requests are done. */
  readonly onProgress?: (doneRequests: number) => void;
}

/** Runs to the end. Throws a usage error for what cannot be run. */
export function simulate(stream: PageStream, run: Run, context: SimulateContext = {}): RunResult {
  const startMs = performance.now();
  const spec = checkRun(run);
  const { capacityPages: capacity, scan } = run;
  const isOurs = spec.needsFuture && context.nextUses === undefined;
  const nextUses = isOurs ? keptNextUsesOf(stream) : context.nextUses;
  const future = spec.needsFuture ? nextUses : undefined;
  try {
    const cache = new SimulatedCache(stream, { spec, capacity, nextUses: future, scan });
    const measured = measure(stream, cache, run, context.onProgress);
    return {
      ...identityOf(stream, run),
      ...measured,
      elapsedMs: performance.now() - startMs,
    };
  } finally {
    if (isOurs) closeNextUses(nextUses);
  }
}

/** Throws a usage error for a run that makes no sense; answers its policy. */
export function checkRun(run: Run): PolicySpec {
  const spec = parsePolicy(run.policy);
  const { capacityPages, warmupRequests = 0 } = run;
  if (!(Number.isSafeInteger(capacityPages) && capacityPages >= 1)) {
    refuse(`a capacity of ${capacityPages} pages cannot be; choose a whole number from 1`);
  }
  if (!(Number.isSafeInteger(warmupRequests) && warmupRequests >= 0)) {
    refuse(`a warm-up of ${warmupRequests} requests cannot be; choose a whole number from 0`);
  }
  if (run.scan !== undefined && spec.needsFuture) {
    throw new Error(`a scan in a run of ${run.policy}, which knows the future without it`);
  }
  return spec;
}
