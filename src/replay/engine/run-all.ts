/**
 * Many runs over one stream, spread over threads that share it. Each run is a thing of its own, so
 * that the results are the same whatever the number of threads, and in the order of the runs.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { TmemError } from '../../lib/errors.ts';
import { giveBack } from './garbage.ts';
import { closeNextUses, keptNextUsesOf, type NextUses } from './next-uses.ts';
import type { PageStream } from './page-stream.ts';
import type { Run, RunResult } from './run.ts';
import { checkRun, simulate } from './simulate.ts';

/** What a worker is given when it starts. */
export interface WorkerSetup {
  readonly stream: PageStream;
  readonly nextUses: NextUses | undefined;
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
  /**
   * Threads besides this one; 0 runs everything on this one. Default: one for each processor, or
   * fewer where the process would otherwise take more than 300 MiB and 16 bytes a page.
   */
  readonly threads?: number;
  /** Requests done and to do, over all runs. */
  readonly onProgress?: (doneRequests: number, allRequests: number) => void;
  /** Ends the runs; what is under way is lost. */
  readonly signal?: AbortSignal;
  /** The compiled `run-worker`. */
  readonly workerUrl?: URL;
}

const MIB = 1024 * 1024;
/** What a replay may take altogether, for the sake of which there may be fewer threads. */
const REPLAY_BYTES = 300 * MIB;
const REPLAY_BYTES_PER_PAGE = 16;
/** What it takes before there are runs, besides the stream. */
const BASE_BYTES = 80 * MIB;
/** Names of pages. */
const STREAM_BYTES_PER_PAGE = 10;
/** Before there are runs, at least: the table of pages. */
const GARBAGE_BYTES_PER_PAGE = 7;
const THREAD_BYTES = 16 * MIB;
/** What a run may hold for each page: the policies with ghosts of every page hold most. Measured. */
const RUN_BYTES_PER_PAGE = 40;
/**
 * Runs of so many pages have a thread each: its memory is given back when it ends, where a thread
 * that lives on would hold that of several runs before it collects its garbage.
 */
const LARGE_RUN_PAGES = 1 << 18;

/**
 * Runs all, and answers a result for each, in order. Throws a usage error before anything is run
 * if one of them cannot be, and what a run throws.
 */
export async function runAll(
  stream: PageStream,
  runs: readonly Run[],
  options: RunAllOptions = {},
): Promise<RunResult[]> {
  const needsFuture = runs.map(checkRun).some((spec) => spec.needsFuture);
  const nextUses = needsFuture ? keptNextUsesOf(stream) : undefined;
  try {
    // What was looked up while pages were numbered, and while next uses were found.
    giveBack(stream.pageCount * GARBAGE_BYTES_PER_PAGE);
    return await runEach({ stream, nextUses }, runs, options);
  } finally {
    closeNextUses(nextUses);
  }
}

async function runEach(
  setup: WorkerSetup,
  runs: readonly Run[],
  options: RunAllOptions,
): Promise<RunResult[]> {
  const { stream } = setup;
  const threads = Math.min(
    options.threads ?? threadsFor(stream, runs, setup.nextUses),
    runs.length,
  );
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
        if (stream.pageCount < LARGE_RUN_PAGES) continue;
        await worker.end();
        worker = undefined;
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

/** As many as fit, and at least one, whatever it takes. */
export function threadsFor(
  stream: PageStream,
  runs: readonly Run[],
  nextUses?: NextUses | undefined,
): number {
  const { pageCount, ids } = stream;
  const perPage = REPLAY_BYTES_PER_PAGE - STREAM_BYTES_PER_PAGE;
  const nextBytes = nextUses instanceof Int32Array ? nextUses.byteLength : 0;
  const free = REPLAY_BYTES - BASE_BYTES + perPage * pageCount - ids.byteLength - nextBytes;
  const scanPages = runs.reduce((most, { scan }) => Math.max(most, scan?.pages ?? 0), 0);
  const runBytes = RUN_BYTES_PER_PAGE * (pageCount + scanPages);
  const fitting = Math.floor(free / (THREAD_BYTES + runBytes));
  return Math.max(1, Math.min(availableParallelism(), fitting));
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
    const { policy } = task.run;
    return new Promise<RunResult>((resolve, reject) => {
      const lost = (cause?: unknown) => {
        const message = `the replay of ${policy} failed; report the trace and the command`;
        settle(() => reject(new TmemError('io', message, { cause })));
      };
      const aborted = () => settle(() => reject(signal.reason));
      const told = (message: FromWorker) => {
        if (message.kind === 'progress') tell(message.index, message.doneRequests);
        else if (message.kind === 'result') settle(() => resolve(message.result));
        else lost(message.cause);
      };
      const settle = (answer: () => void) => {
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
