/**
 * Many runs over one stream, spread over threads that share it. Each run is a thing of its own, so
 * that the results are the same whatever the number of threads, and in the order of the runs.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { TmemError } from '../../lib/errors.ts';
import { nextUsesOf } from './next-uses.ts';
import type { PageStream } from './page-stream.ts';
import type { Run, RunResult } from './run.ts';
import { checkRun, simulate } from './simulate.ts';

/** What a worker is given when it starts. */
export interface WorkerSetup {
  readonly stream: PageStream;
  readonly charges: Uint32Array | undefined;
  readonly nextUses: Int32Array | undefined;
}

export interface ToWorker {
  readonly index: number;
  readonly run: Run;
}

export type FromWorker =
  | { readonly kind: 'progress'; readonly index: number; readonly doneRequests: number }
  | { readonly kind: 'result'; readonly index: number; readonly result: RunResult }
  | { readonly kind: 'error'; readonly index: number; readonly cause: unknown };

export interface RunAllOptions {
  /** Threads besides this one; 0 runs everything on this one. Default: one for each processor. */
  readonly threads?: number;
  /** As in `SimulateContext`; on shared memory, else every thread has a copy. */
  readonly charges?: Uint32Array;
  /** Requests done and to do, over all runs. */
  readonly onProgress?: (doneRequests: number, allRequests: number) => void;
  /** Ends the runs; what is under way is lost. */
  readonly signal?: AbortSignal;
  /** The compiled `run-worker`. */
  readonly workerUrl?: URL;
}

/** A thread that is this much over the time limit of its run is taken for lost. */
const GRACE_FACTOR = 2;
const GRACE_MS = 5000;

/**
 * Runs all, and answers a result for each, in order. Throws a usage error before anything is run
 * if one of them cannot be, and what a run throws.
 */
export async function runAll(
  stream: PageStream,
  runs: readonly Run[],
  options: RunAllOptions = {},
): Promise<RunResult[]> {
  const needsFuture = runs.map((run) => checkRun(stream, run)).some((spec) => spec.needsFuture);
  const nextUses = needsFuture ? nextUsesOf(stream) : undefined;
  const setup: WorkerSetup = { stream, charges: options.charges, nextUses };
  const threads = Math.min(options.threads ?? availableParallelism(), runs.length);
  const done = new Float64Array(runs.length);
  const tell = (index: number, doneRequests: number): void => {
    done[index] = doneRequests;
    const doneOfAll = done.reduce((sum, requests) => sum + requests, 0);
    options.onProgress?.(doneOfAll, runs.length * stream.requestCount);
  };
  if (threads === 0) {
    return runs.map((run, index) => {
      options.signal?.throwIfAborted();
      return simulate(stream, run, { ...setup, onProgress: (requests) => tell(index, requests) });
    });
  }
  const url = options.workerUrl ?? new URL('./run-worker.js', import.meta.url);
  const results = new Array<RunResult>(runs.length);
  const queue = runs.entries();
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, ...(options.signal ? [options.signal] : [])]);
  const work = async (): Promise<void> => {
    let worker: RunThread | undefined;
    try {
      for (const [index, run] of queue) {
        signal.throwIfAborted();
        worker ??= new RunThread(url, setup);
        results[index] = await worker.run({ index, run }, tell, signal);
      }
    } catch (cause) {
      stop.abort(cause);
      throw cause;
    } finally {
      await worker?.end();
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: threads }, work));
  for (const end of ends) if (end.status === 'rejected') throw reasonOf(signal, end.reason);
  return results;
}

/** The first failure, which made the others stop. */
function reasonOf(signal: AbortSignal, reason: unknown): unknown {
  return signal.aborted ? signal.reason : reason;
}

/** One worker, which has one run at a time. */
class RunThread {
  private readonly worker: Worker;

  constructor(url: URL, workerData: WorkerSetup) {
    this.worker = new Worker(url, { workerData });
  }

  async end(): Promise<void> {
    await this.worker.terminate();
  }

  run(
    task: ToWorker,
    tell: (index: number, doneRequests: number) => void,
    signal: AbortSignal,
  ): Promise<RunResult> {
    const { worker } = this;
    const { policy, timeLimitMs } = task.run;
    return new Promise<RunResult>((resolve, reject) => {
      const lost = (cause?: unknown) => {
        const message = `the replay of ${policy} failed; report the trace and the command`;
        settle(() => reject(new TmemError('io', message, { cause })));
      };
      const late = () => {
        const message = `the replay of ${policy} did not end in time; raise the limit or leave it out`;
        settle(() => reject(new TmemError('busy', message)));
      };
      const limitMs = timeLimitMs === undefined ? 0 : timeLimitMs * GRACE_FACTOR + GRACE_MS;
      const timer = limitMs === 0 ? undefined : setTimeout(late, limitMs);
      const aborted = () => settle(() => reject(signal.reason));
      const told = (message: FromWorker) => {
        if (message.kind === 'progress') tell(message.index, message.doneRequests);
        else if (message.kind === 'result') settle(() => resolve(message.result));
        else lost(message.cause);
      };
      const settle = (answer: () => void) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', aborted);
        worker.off('message', told).off('error', lost).off('exit', lost);
        answer();
      };
      signal.addEventListener('abort', aborted);
      worker.on('message', told).on('error', lost).on('exit', lost);
      worker.postMessage(task);
    });
  }
}
