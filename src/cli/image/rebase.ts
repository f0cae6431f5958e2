/** `tmem image rebase`: another base for an image, or none. */

import { rebaseImage } from '../../imaging/rebase.ts';
import { TmemError } from '../../lib/errors.ts';
import { formatSize } from '../../lib/sizes.ts';
import { fullPath } from '../command/context.ts';
import { printable } from '../terminal/table.ts';
import {
  ALLOW_OPTION,
  allowedBacking,
  FORMAT_OPTION,
  parseFormat,
  passphraseOf,
} from './options.ts';
import type { ImageCall, ImageVerb } from './verb.ts';

function newBase(call: ImageCall) {
  const { parsed } = call;
  const name = parsed.last('backing');
  if ((name === undefined) !== parsed.has('flatten')) {
    throw new TmemError('usage', 'rebase needs either --backing or --flatten; give one of them');
  }
  if (name === undefined) return undefined;
  const formatName = parseFormat(parsed, 'backing-format');
  return { name, formatName, allowBacking: allowedBacking(call) };
}

export const rebaseVerb: ImageVerb = {
  name: 'rebase',
  operands: 'FILE',
  operandsMin: 1,
  operandsMax: 1,
  summary: 'put an image on another base, or on none',
  about:
    'FILE reads as before: what the two bases show differently is copied into it. With --unsafe only\n' +
    'the name is changed, for a base that was moved or converted.',
  options: {
    ...FORMAT_OPTION,
    backing: { short: 'b', value: 'BASE', help: 'what it is to stand on' },
    'backing-format': {
      short: 'F',
      value: 'FORMAT',
      help: 'of BASE (default: by the ending of its name)',
    },
    'old-backing-format': {
      value: 'FORMAT',
      help:
        'of what FILE stands on, where it does not say that\n' + '(default: as --backing-format)',
    },
    flatten: { help: 'copy all that shows through, and stand on nothing' },
    unsafe: { short: 'u', help: 'only write the name of BASE into FILE' },
    ...ALLOW_OPTION,
    'passphrase-file': { value: 'FILE', help: 'what opens an enciphered image' },
  },
  run: async (call) => {
    const { operands, parsed, context, stopped, progress, warn } = call;
    const path = fullPath(operands[0] ?? '', context);
    const base = newBase(call);
    const copiedBytes = await rebaseImage({
      path,
      base,
      formatName: parseFormat(parsed),
      isUnsafe: parsed.has('unsafe'),
      allowBacking: allowedBacking(call),
      backingFormatName:
        parseFormat(parsed, 'old-backing-format') ?? parseFormat(parsed, 'backing-format'),
      passphrase: passphraseOf(call),
      onProgress: progress.show,
      signal: stopped,
      warn,
    });
    const on = base === undefined ? 'on nothing' : `on ${printable(base.name)}`;
    return {
      json: { path, backing: base?.name ?? null, copiedBytes },
      text: `${printable(path)} stands ${on}, ${formatSize(copiedBytes)} were copied into it\n`,
    };
  },
};
