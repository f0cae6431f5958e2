/** `tmem image create`: an empty image, or one that stands on another. */

import { type OpenBase, openBase } from '../../imaging/base-image.ts';
import { createImage } from '../../imaging/create.ts';
import { TmemError } from '../../lib/errors.ts';
import { formatSize, parseSize } from '../../lib/sizes.ts';
import { fullPath } from '../command/context.ts';
import { printable } from '../terminal/table.ts';
import {
  ALLOW_OPTION,
  allowedBacking,
  FORCE_OPTION,
  FORMAT_OPTION,
  formatOfNew,
  parseFormat,
  parseSettings,
  passphraseOf,
  SETTINGS_OPTION,
} from './options.ts';
import type { ImageCall, ImageVerb } from './verb.ts';

/** The base that an option names, open; undefined without one. */
export async function baseOf(
  call: ImageCall,
  path: string,
  option: string,
): Promise<OpenBase | undefined> {
  const { parsed } = call;
  const name = parsed.last(option);
  const formatName = parseFormat(parsed, 'backing-format');
  if (name === undefined) return undefined;
  return openBase(path, { name, formatName, allowBacking: allowedBacking(call) });
}

function sizeOf(text: string | undefined, base: OpenBase | undefined): number {
  if (text !== undefined) return parseSize(text);
  if (base !== undefined) return base.image.virtualSizeBytes;
  throw new TmemError('usage', 'no size was given; say how large the disk is to be');
}

export const createVerb: ImageVerb = {
  name: 'create',
  operands: 'FILE [SIZE]',
  operandsMin: 1,
  operandsMax: 2,
  summary: 'make an empty image, or one on top of another',
  about:
    'Without SIZE the disk is as large as that of BASE. BASE is written into the image as it is given,\n' +
    'and is looked for from the directory of FILE.',
  options: {
    ...FORMAT_OPTION,
    backing: { short: 'b', value: 'BASE', help: 'what shows through where nothing was written' },
    'backing-format': {
      short: 'F',
      value: 'FORMAT',
      help: 'of BASE (default: by the ending of its name)',
    },
    ...SETTINGS_OPTION,
    ...FORCE_OPTION,
    ...ALLOW_OPTION,
    'passphrase-file': { value: 'FILE', help: 'what the image is enciphered with' },
  },
  run: async (call) => {
    const { operands, context, parsed } = call;
    const [file = '', size] = operands;
    const path = fullPath(file, context);
    const formatName = formatOfNew(call, path, 'format');
    const settings = parseSettings(parsed.all('options'));
    const passphrase = passphraseOf(call);
    const base = await baseOf(call, path, 'backing');
    const wanted = { path, formatName, sizeBytes: await sizeOrClose(size, base), settings };
    const isForced = parsed.has('force');
    const sizeBytes = await createImage({ ...wanted, base, passphrase, isForced });
    const on = base === undefined ? '' : ` on ${printable(base.reference.name)}`;
    return {
      json: { path, format: formatName, virtualSizeBytes: sizeBytes },
      text: `made ${printable(path)}, ${formatName}, ${formatSize(sizeBytes)}${on}\n`,
    };
  },
};

async function sizeOrClose(text: string | undefined, base: OpenBase | undefined): Promise<number> {
  try {
    return sizeOf(text, base);
  } catch (cause) {
    await base?.image.close();
    throw cause;
  }
}
