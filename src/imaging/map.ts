/** What is allocated where in an image. */

import type { ImageExtent } from '../image/below.ts';
import type { BlockImage } from '../image/image.ts';
import { Breath } from './breath.ts';

/** A run of one state, as long as it is. */
export interface MappedRun extends Omit<ImageExtent, 'length'> {
  readonly offset: number;
  readonly length: number;
}

/** All runs in the order of the disk; neighbours differ. */
export async function* mapImage(
  image: BlockImage,
  signal?: AbortSignal,
): AsyncGenerator<MappedRun, void> {
  const { virtualSizeBytes } = image;
  const breath = new Breath();
  let run: MappedRun | undefined;
  for (let offset = 0; offset < virtualSizeBytes; ) {
    await breath.draw();
    signal?.throwIfAborted();
    const extent = await image.extent(offset, virtualSizeBytes - offset);
    if (run !== undefined && isSame(run, extent)) {
      run = { ...run, length: run.length + extent.length };
    } else {
      if (run !== undefined) yield run;
      run = { offset, ...extent };
    }
    offset += extent.length;
  }
  if (run !== undefined) yield run;
}

function isSame(run: MappedRun, extent: ImageExtent): boolean {
  return (
    run.isHole === extent.isHole &&
    run.isZero === extent.isZero &&
    run.isAllocated === extent.isAllocated &&
    run.isCompressed === extent.isCompressed &&
    run.depth === extent.depth
  );
}
