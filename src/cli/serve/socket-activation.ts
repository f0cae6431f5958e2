/**
 * Listening sockets handed over by the parent process: by systemd, or by libnbd for its bracketed
 * commands (`nbdinfo [ tmem serve image.raw ]`).
 *
 * Source: sd_listen_fds(3).
 */

import { TmemError } from '../../lib/errors.ts';
import type { InheritedAddress } from '../../lib/listen-address.ts';

/** SD_LISTEN_FDS_START: descriptors 0 to 2 are the standard streams. */
const FIRST_FD = 3;
/** Nobody hands over more; a larger number is garbage. */
const FDS_MAX = 256;

/**
 * The sockets that were handed to the process `pid`, none if the variables are absent or meant for
 * another process. Removes the variables from `env`, so that no child takes them for its own.
 */
export function takeInheritedSockets(
  env: Record<string, string | undefined>,
  pid: number,
): readonly InheritedAddress[] {
  const { LISTEN_PID: owner, LISTEN_FDS: countText } = env;
  delete env.LISTEN_PID;
  delete env.LISTEN_FDS;
  delete env.LISTEN_FDNAMES;
  if (owner === undefined || countText === undefined || Number(owner) !== pid) return [];
  const count = /^\d{1,9}$/.test(countText) ? Number(countText) : Number.NaN;
  if (!(count <= FDS_MAX)) {
    throw new TmemError(
      'usage',
      `LISTEN_FDS is "${countText}", not a number of sockets up to ${FDS_MAX}; ` +
        'unset it to listen on addresses of your choice',
    );
  }
  return Array.from({ length: count }, (_, index) => ({ kind: 'fd', fd: FIRST_FD + index }));
}
