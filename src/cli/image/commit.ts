/** `tmem image commit`: what an image has of its own, written into the one below it. */

import { commitImage } from '../../imaging/commit.ts';
import { formatSize } from '../../lib/sizes.ts';
import { fullPath } from '../command/context.ts';
import { printable } from '../terminal/table.ts';
import { allowedBacking, INPUT_OPTIONS, parseFormat, passphraseOf } from './options.ts';
import type { ImageVerb } from './verb.ts';

export const commitVerb: ImageVerb = {
  name: 'commit',
  operands: 'FILE',
  operandsMin: 1,
  operandsMax: 1,
  summary: 'write what an image has into the one below it',
  about:
    'Afterwards the image below reads as FILE does, and every other image on it is worthless. FILE\n' +
    'itself stays what it was, so that an interruption costs nothing, and may be removed then.',
  options: INPUT_OPTIONS,
  run: async (call) => {
    const { operands, parsed, context, stopped, progress, warn } = call;
    const path = fullPath(operands[0] ?? '', context);
    const { basePath, writtenBytes } = await commitImage({
      path,
      formatName: parseFormat(parsed),
      allowBacking: allowedBacking(call),
      backingFormatName: parseFormat(parsed, 'backing-format'),
      passphrase: passphraseOf(call),
      onProgress: progress.show,
      signal: stopped,
      warn,
    });
    return {
      json: { path, base: basePath, writtenBytes },
      text: `wrote ${formatSize(writtenBytes)} into ${printable(basePath)}\n`,
    };
  },
};
