/** Waiting for several promises, none of which may be left behind. */

/** Waits for all, then throws the first failure: no read may outlive the buffer that it fills. */
export async function settleAll(work: readonly (Promise<unknown> | undefined)[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) {
    if (result.status === 'rejected') throw result.reason;
  }
}
