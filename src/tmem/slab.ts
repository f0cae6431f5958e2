/** One slab: where it lies, what it holds. */

import type { Arena } from './arena.ts';
import { OBJECTS_PER_SLAB_MAX } from './size-classes.ts';

/** In `owners`: free, and the low bits name the next free object. */
export const FREE = 0x80000000;
/** There is no next free object. */
export const END = OBJECTS_PER_SLAB_MAX;
export const NO_OWNERS = new Uint32Array(0);

export class Slab {
  sizeClass = 0;
  arena: Arena | undefined;
  baseOffset = 0;
  liveCount = 0;
  freeHead = END;
  /** From `ownersBase`, by object: its owner, or FREE and the next free object. */
  owners: Uint32Array = NO_OWNERS;
  ownersBase = 0;
  /** Place in its class's list of slabs with room, or -1. */
  partialPlace = -1;
  /** Objects that must stay where they are. */
  pinCount = 0;
}
