/** A replay that nobody wants any more. */

import { TmemError } from '../../lib/errors.ts';

/** What it rejects with. */
export function givenUp(): TmemError {
  return new TmemError('shutdown', 'the replay was given up');
}

/** Throws it when `signal` is aborted. */
export function checkWanted(signal: AbortSignal): void {
  if (signal.aborted) throw givenUp();
}
