/** A logged container whose discarded bytes become rubbish at once: whoever still needs them is seen. */

import { LoggedContainer } from '../appended/write-log.ts';

export class ScribbledContainer extends LoggedContainer {
  override readonly supports = { discard: true, fastZeroes: false, extents: false };

  override discard(offset = 0, length = 0): Promise<void> {
    return this.write(Buffer.alloc(length, 0xdd), 0, length, offset);
  }
}
