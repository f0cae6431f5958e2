/** What an image is put together from: runs of the disk, each kept in its own way. */

import type { ResizableStorage } from '../../../storage/storage.ts';
import type { Mapping, WriteTarget } from '../../format.ts';

/** Offsets are those within the extent; a range that is asked for is inside it. */
export interface Extent {
  /** Undefined for zeros, which are in no file. */
  readonly storage: ResizableStorage | undefined;
  readonly lengthBytes: number;
  map(offset: number, length: number): Mapping | Promise<Mapping>;
  /** Absent for what can only be read. */
  readonly writer?: ExtentWriter | undefined;
}

/** See `WritableFormat` for the calls of the same name. */
export interface ExtentWriter {
  /** What can be zeroed or given up; 1 for a flat extent. */
  readonly unitBytes: number;
  /** What waits for a sync, so that it does not become too much. */
  readonly stagedCount: number;
  allocate(offset: number, length: number): WriteTarget | Promise<WriteTarget>;
  /** Whether `zero` can do it without writing; nothing is done. */
  canZero(offset: number, length: number): boolean;
  zero(offset: number, length: number, mayDiscard: boolean, mustBeFast: boolean): Promise<void>;
  discard(offset: number, length: number): Promise<void>;
  /**
   * What was committed up to now, to be written to the tables once its data is durable; undefined
   * when there is nothing.
   */
  takeChanges(): ExtentChanges | undefined;
  /** After the last sync, when nothing is under way: the file ends behind what its tables name. */
  cutEnd?(): Promise<void>;
}

/** The tables' part of a sync. */
export interface ExtentChanges {
  /** After the data is durable. */
  write(): Promise<void>;
  /** After what `write` wrote is durable. */
  finish(): void;
}
