/** Giving memory back to the system while its buffer stays, by madvise(2). */

import { bindCLibrary } from './c-library.ts';

/** Of <sys/mman.h>: the pages are freed, and read as zeros until they are written again. */
const MADV_DONTNEED = 4;

/** Whole pages only: what lies around them in the first and the last one stays as it is. */
const PAGE_BYTES = 4096;

/**
 * Frees what the pages of `memory` take. Afterwards its bytes are anything, as those of memory that
 * was just allocated; so they must be nobody's.
 */
export type ForgetMemory = (memory: Uint8Array) => void;

/** Undefined where koffi or a C library it can load is not installed. */
export function bindForgetMemory(): Promise<ForgetMemory | undefined> {
  return bindCLibrary((library) => {
    const madvise = library.func('madvise', 'int', ['int64_t', 'size_t', 'int']);
    return (memory) => {
      const address = library.addressOf(memory);
      const start = Math.ceil(address / PAGE_BYTES) * PAGE_BYTES;
      const end = Math.floor((address + memory.length) / PAGE_BYTES) * PAGE_BYTES;
      // A system that refuses keeps the memory until the whole buffer goes.
      if (end > start) madvise(start, end - start, MADV_DONTNEED);
    };
  });
}
