/** An extent without tables, byte for byte, and one of zeros, which is in no file. */

import { TmemError } from '../../../lib/errors.ts';
import type { ResizableStorage } from '../../../storage/storage.ts';
import type { Mapping, WriteTarget } from '../../format.ts';
import type { Extent, ExtentWriter } from './extent.ts';

/** Bytes of `storage` from `fileOffset` on. */
export function flatExtent(
  storage: ResizableStorage,
  fileOffset: number,
  lengthBytes: number,
): Extent {
  const map = (offset: number): Mapping => {
    const length = lengthBytes - offset;
    return { kind: 'data', length, storage, storageOffset: fileOffset + offset };
  };
  const allocate = (offset: number): WriteTarget => {
    const length = lengthBytes - offset;
    return { length, storage, storageOffset: fileOffset + offset, headBytes: 0, tailBytes: 0 };
  };
  const writer: ExtentWriter = {
    unitBytes: 1,
    stagedCount: 0,
    allocate,
    canZero: () => true,
    zero: (offset, length, mayDiscard, mustBeFast) =>
      storage.writeZeroes(fileOffset + offset, length, mayDiscard, mustBeFast),
    discard: (offset, length) => storage.discard(fileOffset + offset, length),
    takeChanges: () => undefined,
  };
  return { storage, lengthBytes, map, writer };
}

/** Zeros that the descriptor promises. */
export function zeroExtent(name: string, lengthBytes: number): Extent {
  const refuse = (offset: number) => {
    const cause = `the extent of zeros at its offset ${offset} has no file`;
    return new TmemError('unsupported', `cannot write "${name}": ${cause}; convert the image`);
  };
  return {
    storage: undefined,
    lengthBytes,
    map: (offset) => ({ kind: 'zero', length: lengthBytes - offset }),
    writer: {
      unitBytes: 1,
      stagedCount: 0,
      allocate: (offset) => Promise.reject(refuse(offset)),
      canZero: () => true,
      zero: async () => undefined,
      discard: async () => undefined,
      takeChanges: () => undefined,
    },
  };
}
