/** How a qcow2 image is refused: one sentence with the file, the offset and the cause. */

import { TmemError } from '../../lib/errors.ts';

/** The image says something at `offset` that no good image says. */
export function refusal(name: string, offset: number, cause: string): TmemError {
  return new TmemError(
    'invalid',
    `cannot open "${name}" as qcow2: at offset ${offset}, ${cause}; use a good copy of the image`,
    { context: { image: name, offset } },
  );
}

/** A table of an open image is damaged at `offset`; other parts of the image may be fine. */
export function damage(name: string, offset: number, cause: string): TmemError {
  return new TmemError(
    'io',
    `"${name}" is damaged: at offset ${offset}, ${cause}; run "tmem image check" on it`,
    { context: { image: name, offset } },
  );
}
