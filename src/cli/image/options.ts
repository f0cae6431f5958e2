/** Options that several verbs of `tmem image` have, and what they ask for. */

import { FORMAT_NAMES, type FormatName } from '../../image/format.ts';
import { formatNameOf } from '../../image/formats.ts';
import { TmemError } from '../../lib/errors.ts';
import { nearest } from '../../lib/nearest.ts';
import type { OptionTable, ParsedArguments } from '../command/arguments.ts';
import { fullPath } from '../command/context.ts';
import { readPassphrase } from '../command/passphrase.ts';
import type { ImageCall } from './verb.ts';

const FORMATS = FORMAT_NAMES.join(', ');

export const FORMAT_OPTION = {
  format: {
    short: 'f',
    value: 'FORMAT',
    help: `${FORMATS}\n(default: by the ending of its name, else raw)`,
  },
} as const satisfies OptionTable<string>;

export const ALLOW_OPTION = {
  'allow-backing': {
    value: 'DIR',
    help: 'images may name files there, beside those in their\nown directory; may be repeated',
  },
} as const satisfies OptionTable<string>;

/** How images are opened that are there. */
export const INPUT_OPTIONS = {
  ...FORMAT_OPTION,
  ...ALLOW_OPTION,
  'backing-format': {
    value: 'FORMAT',
    help: 'of backing files, where the image does not say it',
  },
  'passphrase-file': { value: 'FILE', help: 'what opens an enciphered image' },
} as const satisfies OptionTable<string>;

export const SETTINGS_OPTION = {
  options: {
    short: 'o',
    value: 'NAME=VALUE,...',
    help: 'settings of the format, as cluster_size=64k; may be\nrepeated',
  },
} as const satisfies OptionTable<string>;

export const FORCE_OPTION = {
  force: { help: 'replace the file if there is one' },
} as const satisfies OptionTable<string>;

/** The format that `option` names; undefined where it was not given. */
export function parseFormat(parsed: ParsedArguments<string>, option = 'format') {
  const text = parsed.last(option);
  if (text === undefined) return undefined;
  const found = FORMAT_NAMES.find((name) => name === text);
  if (found !== undefined) return found;
  const meant = nearest(text, FORMAT_NAMES);
  const advice = meant === undefined ? `take one of ${FORMATS}` : `did you mean ${meant}?`;
  throw new TmemError('usage', `--${option}: there is no format "${text}"; ${advice}`);
}

/** The format of a new file: what `option` says, or what it is called like. */
export function formatOfNew(call: ImageCall, path: string, option: string): FormatName {
  return parseFormat(call.parsed, option) ?? formatNameOf(path);
}

/** `name=value,…`, as qemu-img has it: a comma of a value is written twice. */
export function parseSettings(texts: readonly string[]): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const text of texts) {
    for (const part of text.replaceAll(',,', '\0').split(',')) {
      const [name = '', ...value] = part.replaceAll('\0', ',').split('=');
      if (name === '' || value.length === 0) {
        throw new TmemError('usage', `--options: "${part}" is no NAME=VALUE; write it so`);
      }
      settings[name] = value.join('=');
    }
  }
  return settings;
}

/** What is in the file that `option` names. */
export function passphraseOf(call: ImageCall, option = 'passphrase-file'): Buffer | undefined {
  const file = call.parsed.last(option);
  return file === undefined ? undefined : readPassphrase(fullPath(file, call.context));
}

export function allowedBacking({ parsed, context }: ImageCall): string[] {
  return parsed.all('allow-backing').map((path) => fullPath(path, context));
}
