/**
 * The clean pages of a disk, as an export uses them: those of one image, or of a chain of images
 * that each have their own.
 */

import type { Cleancache } from '../../tmem/cleancache.ts';

type OneImage = Pick<
  Cleancache,
  | 'pageBytes'
  | 'pool'
  | 'hits'
  | 'get'
  | 'has'
  | 'hasBytes'
  | 'copy'
  | 'put'
  | 'flush'
  | 'flushInTurns'
  | 'lend'
  | 'lender'
>;

/** See `Cleancache`: whoever begins to change the disk flushes what it changes. */
export interface CleanPages extends OneImage {
  /**
   * Of a chain: a change of the pages has ended, the image on top has them. Said at the end too,
   * because who holds a page may have been forgotten, and found out anew, since the beginning.
   */
  claim?(first: number, count: number): void;
}
