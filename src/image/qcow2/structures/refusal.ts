/** How a qcow2 image is refused: one sentence with the file, the offset and the cause. */

import { TmemError } from '../../../lib/errors.ts';

/** The image says something at `offset` that no good image says. */
export function refusal(name: string, offset: number, cause: string): TmemError {
  return new TmemError(
    'invalid',
    `cannot open "${name}" as qcow2: at offset ${offset}, ${cause}; use a good copy of the image`,
    { context: { image: name, offset } },
  );
}

/** What is on the storage is wrong, as opposed to a storage that fails and may work again. */
export class Damage extends TmemError {}

/** A table of an open image is damaged at `offset`; other parts of the image may be fine. */
export function damage(name: string, offset: number, cause: string): Damage {
  return new Damage(
    'io',
    `"${name}" is damaged: at offset ${offset}, ${cause}; run "tmem image check" on it`,
    { context: { image: name, offset } },
  );
}
