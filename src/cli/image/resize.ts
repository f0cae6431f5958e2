/** `tmem image resize`: another size of a disk. */

import { resizeImage } from '../../imaging/resize.ts';
import { refuse } from '../../lib/errors.ts';
import { parseSize, statedSize } from '../../lib/sizes.ts';
import { fullPath } from '../command/context.ts';
import { printable } from '../terminal/table.ts';
import { openInput, withImage } from './input.ts';
import { INPUT_OPTIONS } from './options.ts';
import type { ImageVerb } from './verb.ts';

/** `SIZE`, or how much more or less than `now`. */
function newSize(text: string, now: number): number {
  if (text.startsWith('+')) return now + parseSize(text.slice(1));
  if (!text.startsWith('-')) return parseSize(text);
  const less = parseSize(text.slice(1));
  if (less > now)
    refuse(`the disk has ${statedSize(now)}, which cannot be less by ${text.slice(1)}`);
  return now - less;
}

export const resizeVerb: ImageVerb = {
  name: 'resize',
  operands: 'FILE [+|-]SIZE',
  operandsMin: 2,
  operandsMax: 2,
  hasSignedOperand: true,
  summary: 'change the size of a disk',
  about:
    'What is new reads as zeros. With + or - the size is changed by so much. File systems and\n' +
    'partitions on the disk have to be made smaller before, or larger afterwards.',
  options: {
    ...INPUT_OPTIONS,
    shrink: { help: 'make it smaller, though what is behind the end is lost' },
  },
  run: async (call) => {
    const { operands, parsed, context } = call;
    const [file = '', size = ''] = operands;
    const path = fullPath(file, context);
    const opening = openInput(call, path, { isReadOnly: false });
    const sizeBytes = await withImage(opening, (image) => {
      const wanted = newSize(size, image.virtualSizeBytes);
      return resizeImage(image, { sizeBytes: wanted, mayShrink: parsed.has('shrink') });
    });
    return {
      json: { path, virtualSizeBytes: sizeBytes },
      text: `${printable(path)} has ${statedSize(sizeBytes)}\n`,
    };
  },
};
