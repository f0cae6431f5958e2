/** Waiting while the timers are a test's own. */

/** Below the time that a test has. */
const MS_MAX = 4000;

/** Resolves at the turn of the event loop at which `isSo` holds; rejects when it never does. */
export async function until(isSo: () => boolean): Promise<void> {
  const start = performance.now();
  while (!isSo()) {
    if (performance.now() - start > MS_MAX) throw new Error('what is waited for does not come');
    await new Promise((resolve) => setImmediate(resolve));
  }
}
