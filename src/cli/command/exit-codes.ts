/** What the process says to its parent when it ends. */

import type { ErrorKind } from '../../lib/errors.ts';

export const EXIT_DONE = 0;
/** Something failed that the user's request is not to blame for. */
export const EXIT_FAILED = 1;
/** The request cannot be carried out as it stands: the user has to change something. */
const EXIT_USAGE = 2;

/** The exit code for an error of each kind that ends a command. */
export const EXIT_CODE_BY_KIND: Readonly<Record<ErrorKind, number>> = {
  usage: EXIT_USAGE,
  'not-found': EXIT_USAGE,
  permission: EXIT_USAGE,
  busy: EXIT_USAGE,
  invalid: EXIT_USAGE,
  'read-only': EXIT_USAGE,
  unsupported: EXIT_USAGE,
  'no-space': EXIT_FAILED,
  io: EXIT_FAILED,
  shutdown: EXIT_FAILED,
};

/** The signals that ask the process to stop. */
export type StopSignal = 'SIGHUP' | 'SIGINT' | 'SIGTERM';

/** The code of a process that a signal ended, as shells count it: 128 and the signal's number. */
export const EXIT_CODE_BY_SIGNAL: Readonly<Record<StopSignal, number>> = {
  SIGHUP: 129,
  SIGINT: 130,
  SIGTERM: 143,
};
