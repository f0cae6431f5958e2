/** Commands that work until they are done, or until somebody wants no more of it. */

import type { CliContext } from './context.ts';
import { EXIT_CODE_BY_SIGNAL } from './exit-codes.ts';

/**
 * Does `work`, which the first signal to stop aborts and the second does not wait for. Answers the
 * exit code: that of the work, or of the signal when the work fails after it.
 */
export async function stoppable(
  context: CliContext,
  work: (stopped: AbortSignal) => Promise<number>,
): Promise<number> {
  const signals = context.watchStopSignals();
  signals.onSecond((exitCode) => context.exit(exitCode));
  try {
    return await work(signals.first);
  } catch (error) {
    if (signals.first.aborted) return signals.exitCode ?? EXIT_CODE_BY_SIGNAL.SIGINT;
    throw error;
  } finally {
    signals.dispose();
  }
}
