/** `tmem image create`: an empty image, or one that stands on another. */

import { type OpenBase, openBase } from '../../imaging/base-image.ts';
import { createImage } from '../../imaging/create.ts';
import { TmemError } from '../../lib/errors.ts';
import { parseSize, statedSize } from '../../lib/sizes.ts';
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

/** The base that --backing names, open; undefined without one. */
export async function baseOf(
  call: ImageCall,
  path: string,
  passphrase: Buffer | undefined,
): Promise<OpenBase | undefined> {
  const { parsed } = call;
  const name = parsed.last('backing');
  const formatName = parseFormat(parsed, 'backing-format');
  if (name === undefined) return undefined;
  const below = { passphrase, backingFormatName: formatName, allowBacking: allowedBacking(call) };
  return openBase(path, { name, formatName, ...below });
}

/** The passphrase is of the base where that does not open without one; else the image's alone. */
async function openBaseFor(call: ImageCall, path: string, passphrase: Buffer | undefined) {
  try {
    return { base: await baseOf(call, path, undefined), opensWithout: true };
  } catch (cause) {
    if (passphrase === undefined) throw cause;
    return { base: await baseOf(call, path, passphrase), opensWithout: false };
  }
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
    'passphrase-file': {
      value: 'FILE',
      help: 'what the image is enciphered with, and what opens\nan enciphered BASE',
    },
  },
  run: async (call) => {
    const { operands, context, parsed } = call;
    const [file = '', size] = operands;
    const path = fullPath(file, context);
    const formatName = formatOfNew(call, path, 'format');
    const settings = parseSettings(parsed.all('options'));
    const given = passphraseOf(call);
    const { base, opensWithout } = await openBaseFor(call, path, given);
    // One that is of no use is refused, so that nobody takes a plain image for an enciphered one.
    const isForImage = opensWithout || settings['encrypt.format'] !== undefined;
    const passphrase = isForImage ? given : undefined;
    const wanted = { path, formatName, sizeBytes: await sizeOrClose(size, base), settings };
    const isForced = parsed.has('force');
    const sizeBytes = await createImage({ ...wanted, base, passphrase, isForced });
    if (base?.warning !== undefined) call.warn(base.warning);
    const on = base === undefined ? '' : ` on ${printable(base.reference.name)}`;
    return {
      json: { path, format: formatName, virtualSizeBytes: sizeBytes },
      text: `made ${printable(path)}, ${formatName}, ${statedSize(sizeBytes)}${on}\n`,
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
