/** `tmem image measure`: how large an image would be. */

import { type Measure, measureImage } from '../../imaging/measure.ts';
import { TmemError } from '../../lib/errors.ts';
import { formatSize, parseSize } from '../../lib/sizes.ts';
import { readValue } from '../command/arguments.ts';
import { fullPath } from '../command/context.ts';
import { openInput, withImage } from './input.ts';
import {
  INPUT_OPTIONS,
  parseFormat,
  parseSettings,
  passphraseOf,
  SETTINGS_OPTION,
} from './options.ts';
import type { ImageCall, ImageVerb } from './verb.ts';

async function measure(call: ImageCall): Promise<Measure> {
  const { operands, parsed, context, stopped, progress } = call;
  const [file] = operands;
  const size = parsed.last('size');
  if ((file === undefined) === (size === undefined)) {
    throw new TmemError('usage', 'measure needs either a FILE or --size; give one of them');
  }
  const shared = {
    formatName: parseFormat(parsed, 'output-format') ?? 'raw',
    settings: parseSettings(parsed.all('options')),
    passphrase: passphraseOf(call, 'target-passphrase-file'),
    onProgress: progress.show,
    signal: stopped,
  };
  if (size !== undefined)
    return measureImage({ ...shared, disk: readValue('size', size, parseSize) });
  const snapshot = parsed.last('snapshot');
  return withImage(openInput(call, fullPath(file ?? '', context), { snapshot }), (disk) =>
    measureImage({ ...shared, disk }),
  );
}

export const measureVerb: ImageVerb = {
  name: 'measure',
  operands: '[FILE]',
  operandsMin: 0,
  operandsMax: 1,
  summary: 'tell how large a new image would be',
  about:
    'Of FILE as it would be converted, or of an empty disk of --size. Only what is known to be zeros\n' +
    'without reading is left out, so that the file may become smaller than what is required.',
  options: {
    ...INPUT_OPTIONS,
    'output-format': { short: 'O', value: 'FORMAT', help: 'of the new image (default: raw)' },
    ...SETTINGS_OPTION,
    size: { value: 'SIZE', help: 'of the disk, instead of FILE' },
    snapshot: { short: 'l', value: 'NAME', help: 'that internal snapshot of FILE, by name or id' },
    'target-passphrase-file': { value: 'FILE', help: 'what the new image is enciphered with' },
  },
  run: async (call) => {
    const json = await measure(call);
    const line = (name: string, bytes: number) =>
      `${name.padEnd(16)} ${formatSize(bytes)} (${bytes} bytes)\n`;
    return {
      json,
      text:
        line('required', json.requiredBytes) + line('fully allocated', json.fullyAllocatedBytes),
    };
  },
};
