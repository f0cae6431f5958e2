/** Waiting for a disk, which may hang, no longer than for so long. */

import { TmemError } from './errors.ts';

/** The result of `work`; rejects with a TmemError that names `what` when it takes longer than `ms`. */
export async function inTime<Result>(
  work: Promise<Result>,
  ms: number,
  what: string,
): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const seconds = ms / 1000;
    const sentence = `${what} did not end what was under way within ${seconds} s; look at its disk`;
    timer = setTimeout(() => reject(new TmemError('io', sentence)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    work.catch(() => undefined); // nobody waits for it any more
  }
}
