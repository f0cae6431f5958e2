/** No space left, for this process: files that it may not lengthen any more. */

import { execFileSync } from 'node:child_process';

function limitTo(bytes: number | 'unlimited'): void {
  execFileSync('prlimit', ['--pid', `${process.pid}`, `--fsize=${bytes}:unlimited`]);
}

/** Runs `work` while writes of this process behind `bytes` of any file fail with EFBIG. */
export async function withFileSizeLimit<Result>(
  bytes: number,
  work: () => Promise<Result>,
): Promise<Result> {
  limitTo(bytes);
  try {
    return await work();
  } finally {
    limitTo('unlimited');
  }
}
