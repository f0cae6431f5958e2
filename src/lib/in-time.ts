/** Waiting for a disk, which may hang, no longer than for so long. */

import { TmemError } from './errors.ts';

/** The result of `work`; rejects with a TmemError that names `what` when it takes longer than `ms`. */
export function inTime<Result>(work: Promise<Result>, ms: number, what: string): Promise<Result> {
  const seconds = ms / 1000;
  const sentence = `${what} did not end what was under way within ${seconds} s; look at its disk`;
  return unlessStalled(() => work, ms, sentence);
}

/**
 * The result of `work`; rejects with a TmemError `io` of that sentence when `ms` have passed since it
 * last told of progress, or began.
 */
export async function unlessStalled<Result>(
  work: (onProgress: () => void) => Promise<Result>,
  ms: number,
  sentence: string,
): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const result = work(() => timer?.refresh());
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TmemError('io', sentence)), ms);
  });
  try {
    return await Promise.race([result, late]);
  } finally {
    clearTimeout(timer);
    result.catch(() => undefined); // nobody waits for it any more
  }
}
