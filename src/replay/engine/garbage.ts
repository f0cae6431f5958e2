/** Memory that is not needed any more, given back before there is a reason to. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Below this garbage is not worth the time. */
const WORTH_BYTES = 16 << 20;

/**
 * Collects the garbage of this thread now if that much was thrown away. Large arrays count little
 * for when the collector runs by itself, and when the work is done by other threads it may never.
 */
export function giveBack(bytes: number): void {
  if (bytes < WORTH_BYTES) return;
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  if (typeof collect === 'function') collect();
}
