/** `tmem image compare`: whether two images hold the same. */

import { FORMAT_NAMES } from '../../image/format.ts';
import { formatNameOf } from '../../image/formats.ts';
import { type Comparison, compareImages } from '../../imaging/compare.ts';
import { fullPath } from '../command/context.ts';
import { openInput, withImage } from './input.ts';
import { INPUT_OPTIONS, parseFormat } from './options.ts';
import type { ImageVerb } from './verb.ts';

const EXIT_DIFFERENT = 1;
const EXIT_COULD_NOT = 2;

const WORDS = {
  content: 'the content differs',
  size: 'the sizes differ: the smaller one ends',
  allocation: 'what is allocated differs',
} as const;

function describe({ difference, hasSameSize }: Comparison): string {
  if (difference !== undefined) return `${WORDS[difference.kind]} at offset ${difference.offset}\n`;
  return hasSameSize
    ? 'the images are identical\n'
    : 'the images are identical, but for zeros at the end of the larger one\n';
}

export const compareVerb: ImageVerb = {
  name: 'compare',
  operands: 'IMAGE IMAGE',
  operandsMin: 2,
  operandsMax: 2,
  summary: 'tell whether two images hold the same disk',
  about:
    'Compares what a guest would read. Where one disk is larger, the rest of it has to be zeros.',
  options: {
    ...INPUT_OPTIONS,
    'second-format': {
      short: 'F',
      value: 'FORMAT',
      help: `of the second image: ${FORMAT_NAMES.join(', ')}\n(default: by the ending of its name, else raw)`,
    },
    strict: { short: 's', help: 'sizes, and what is allocated, have to be the same too' },
  },
  exitCodes:
    'Exit codes: 0 the same, 1 different, 2 it failed or cannot be carried out, 130 interrupted.\n',
  exitCodeOf: () => EXIT_COULD_NOT,
  run: async (call) => {
    const { operands, parsed, context, stopped, progress } = call;
    const [first = '', second = ''] = operands.map((path) => fullPath(path, context));
    const formatName = parseFormat(parsed, 'second-format');
    const comparison = await withImage(openInput(call, first), (one) =>
      withImage(
        openInput(call, second, { formatName: formatName ?? formatNameOf(second) }),
        (other) =>
          compareImages({
            images: [one, other],
            isStrict: parsed.has('strict'),
            onProgress: progress.show,
            signal: stopped,
          }),
      ),
    );
    return {
      json: { ...comparison, difference: comparison.difference ?? null },
      text: describe(comparison),
      exitCode: comparison.isSame ? 0 : EXIT_DIFFERENT,
    };
  },
};
