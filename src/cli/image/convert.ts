/** `tmem image convert`: the content of an image in a new one. */

import { convertImage } from '../../imaging/convert.ts';
import { TmemError } from '../../lib/errors.ts';
import { formatSize, parseSize } from '../../lib/sizes.ts';
import { parseWhole, readValue } from '../command/arguments.ts';
import { fullPath } from '../command/context.ts';
import { printable } from '../terminal/table.ts';
import { baseOf } from './create.ts';
import { openInput, withImage } from './input.ts';
import {
  FORCE_OPTION,
  formatOfNew,
  INPUT_OPTIONS,
  parseSettings,
  passphraseOf,
  SETTINGS_OPTION,
} from './options.ts';
import type { ImageVerb } from './verb.ts';

const THREADS_MAX = 64;

function parseSync(text: string): boolean {
  if (text === 'on' || text === 'off') return text === 'on';
  throw new TmemError('usage', `--sync: "${text}" is neither on nor off`);
}

export const convertVerb: ImageVerb = {
  name: 'convert',
  operands: 'SOURCE TARGET',
  operandsMin: 2,
  operandsMax: 2,
  summary: 'write the content of an image into a new one',
  about:
    'Goes between any two formats, keeps holes and leaves out zeros. TARGET is there when it is\n' +
    'complete, and not before: whatever ends the command earlier leaves what was there.',
  options: {
    ...INPUT_OPTIONS,
    'output-format': {
      short: 'O',
      value: 'FORMAT',
      help: 'of TARGET (default: by the ending of its name, else raw)',
    },
    ...SETTINGS_OPTION,
    compress: { short: 'c', help: 'compress what is written' },
    backing: {
      short: 'B',
      value: 'BASE',
      help: 'have TARGET stand on BASE, and write only what differs\nfrom it; BASE is of --backing-format, and opened with\n--passphrase-file',
    },
    'backing-format': {
      short: 'F',
      value: 'FORMAT',
      help: 'of BASE, and of backing files where SOURCE does not\nsay it',
    },
    snapshot: {
      short: 'l',
      value: 'NAME',
      help: 'that internal snapshot of SOURCE, by name or id',
    },
    threads: {
      short: 'm',
      value: 'N',
      help: `ranges under way at once, up to ${THREADS_MAX} (default: 8)`,
    },
    sparse: {
      short: 'S',
      value: 'SIZE',
      help: 'leave out zeros from so many in a row on; 0 writes all\nof them (default: 4KiB)',
    },
    sync: {
      value: 'WHEN',
      help: 'on: TARGET is on the disk before it has its name; off:\nthe system writes it when it likes, and may lose it in a\ncrash (default: on)',
    },
    'target-passphrase-file': { value: 'FILE', help: 'what TARGET is enciphered with' },
    ...FORCE_OPTION,
  },
  run: async (call) => {
    const { operands, parsed, context, stopped, progress } = call;
    const [from = '', to = ''] = operands;
    const path = fullPath(to, context);
    const formatName = formatOfNew(call, path, 'output-format');
    const settings = parseSettings(parsed.all('options'));
    const threads = parseWhole('threads', parsed.last('threads') ?? '8', 1, THREADS_MAX);
    const sparseBytes = readValue('sparse', parsed.last('sparse') ?? '4KiB', parseSize);
    const passphrase = passphraseOf(call, 'target-passphrase-file');
    const snapshot = parsed.last('snapshot');
    const isDurable = parseSync(parsed.last('sync') ?? 'on');
    const opening = openInput(call, fullPath(from, context), { snapshot });
    const { sizeBytes, writtenBytes, fileBytes } = await withImage(opening, async (source) => {
      const base = await baseOf(call, path, passphraseOf(call));
      const converted = await convertImage({
        ...{ source, path, formatName, settings, passphrase, base, threads, sparseBytes },
        isForced: parsed.has('force'),
        isDurable,
        isCompressed: parsed.has('compress'),
        onProgress: progress.show,
        signal: stopped,
      });
      if (base?.warning !== undefined) call.warn(base.warning);
      return converted;
    });
    const what = `${formatSize(writtenBytes)} of ${formatSize(sizeBytes)}`;
    return {
      json: {
        path,
        format: formatName,
        virtualSizeBytes: sizeBytes,
        writtenBytes,
        fileBytes,
      },
      text: `wrote ${what} to ${printable(path)}, ${formatName}, ${formatSize(fileBytes)}\n`,
    };
  },
};
