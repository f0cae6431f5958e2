/** Random changes of an image, several under way at once, and of a buffer that says what it holds. */

import type { BlockImage } from '../../../src/image/image.ts';
import type { Random } from '../../tools/crash-random.ts';

export interface ScribbleOptions {
  /** Each is up to eight changes at once that do not overlap. */
  readonly rounds: number;
  readonly bytesMax: number;
  /** Discards too, whose result is read back into the model. Default true. */
  readonly discards?: boolean;
}

/** Changes the image and the model alike. */
export async function scribble(
  image: BlockImage,
  model: Buffer,
  random: Random,
  { rounds, bytesMax, discards = true }: ScribbleOptions,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const changes: Promise<void>[] = [];
    const taken: { from: number; to: number }[] = [];
    for (let tries = 0; tries < 8; tries++) {
      const length = random.logarithmic(bytesMax);
      const at = placeOf(random, model.length, length);
      const to = Math.min(model.length, at + length);
      if (taken.some((range) => range.from < to && at < range.to)) continue;
      taken.push({ from: at, to });
      changes.push(change(image, model, random, at, to, discards));
    }
    await Promise.all(changes);
    if (random.chance(0.2)) await image.sync();
  }
}

/** Any byte, a sector, or a 4 KiB block. */
function placeOf(random: Random, size: number, length: number): number {
  const unit = random.pick([1, 512, 4096]);
  const at = random.below(Math.max(1, size - length));
  return at - (at % unit);
}

async function change(
  image: BlockImage,
  model: Buffer,
  random: Random,
  from: number,
  to: number,
  discards: boolean,
): Promise<void> {
  const kind = random.below(10);
  if (kind === 0 && discards) {
    await image.discard(from, to - from);
    await image.read(model, from, to - from, from);
  } else if (kind <= 2) {
    model.fill(0, from, to);
    await image.writeZeroes(from, to - from, random.chance(0.5));
  } else {
    for (let at = from; at < to; at++) model[at] = (at * 7 + kind * 31 + from) & 0xff || 1;
    await image.write(model, from, to - from, from);
  }
}
