/** How this format words its refusals. */

import { TmemError } from '../../../lib/errors.ts';

/** What the file says at `offset` is of no good image; it is not opened. */
export function damaged(name: string, offset: number, cause: string): TmemError {
  return new TmemError(
    'invalid',
    `cannot open "${name}" as vmdk: at offset ${offset}, ${cause}; use a good copy of the image`,
    { context: { image: name, offset } },
  );
}

/** A table or a grain of an open image is damaged at `offset`; other parts may be fine. */
export function broken(name: string, offset: number, cause: string, error?: unknown): TmemError {
  return new TmemError(
    'io',
    `"${name}" is damaged: at offset ${offset}, ${cause}; run "tmem image check" on it`,
    { context: { image: name, offset }, cause: error },
  );
}

/** What the file says at `offset` is legal, but not for us. */
export function unsupported(
  name: string,
  offset: number,
  cause: string,
  advice: string,
): TmemError {
  return new TmemError(
    'unsupported',
    `cannot open "${name}" as vmdk: at offset ${offset}, ${cause}; ${advice}`,
    { context: { image: name, offset } },
  );
}
