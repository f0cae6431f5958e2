/** `tmem image info`: what an image says of itself. */

import { type FileInfo, imageInfo } from '../../imaging/info.ts';
import { formatSize } from '../../lib/sizes.ts';
import { fullPath } from '../command/context.ts';
import { printable } from '../terminal/table.ts';
import { ALLOW_OPTION, allowedBacking, FORMAT_OPTION, parseFormat } from './options.ts';
import type { ImageVerb } from './verb.ts';

const NAME_WIDTH = 22;

function line(name: string, value: string): string {
  return `${name.padEnd(NAME_WIDTH)} ${printable(value)}\n`;
}

function sizeText(bytes: number): string {
  return bytes < 1024 ? `${bytes} bytes` : `${formatSize(bytes)} (${bytes} bytes)`;
}

/** The name of a detail in words: `refcount bits` of `refcountBits`. */
function wordsOf(name: string): string {
  const words = name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return words.replace(/^is /, '');
}

function describe(info: FileInfo): string {
  const { backing, snapshots, references, details } = info;
  const states = [
    ...(info.isEncrypted ? ['enciphered'] : []),
    ...(info.isDirty ? ['not cleanly closed'] : []),
    ...(info.isCorrupt ? ['marked as corrupt'] : []),
  ];
  const lines = [
    line('image', info.path),
    line('format', info.formatName),
    line('virtual size', sizeText(info.virtualSizeBytes)),
    line('file size', sizeText(info.fileBytes)),
  ];
  if (info.unitBytes !== undefined) lines.push(line('unit size', sizeText(info.unitBytes)));
  if (backing !== undefined) {
    lines.push(
      line('backing file', `${backing.name} (${backing.formatName ?? 'format not said'})`),
    );
  }
  for (const { role, name } of references) lines.push(line(role, name));
  if (states.length > 0) lines.push(line('state', states.join(', ')));
  for (const [name, value] of Object.entries(details))
    lines.push(line(wordsOf(name), String(value)));
  for (const { id, name, sizeBytes, createdAt } of snapshots) {
    const made = new Date(createdAt * 1000).toISOString();
    lines.push(line(`snapshot ${id}`, `${name}, ${formatSize(sizeBytes)}, ${made}`));
  }
  return lines.join('');
}

function jsonOf(info: FileInfo) {
  const { formatName, backing, references, ...others } = info;
  const nameOf = ({ name, formatName: format, role }: FileInfo['references'][number]) => {
    return { role, name, format: format ?? null };
  };
  return {
    ...others,
    format: formatName,
    backing: backing === undefined ? null : nameOf(backing),
    references: references.map(nameOf),
  };
}

export const infoVerb: ImageVerb = {
  name: 'info',
  operands: 'FILE',
  operandsMin: 1,
  operandsMax: 1,
  summary: 'tell what an image says of itself',
  about: 'Opens nothing that the image names, unless --backing-chain asks for it.',
  options: {
    ...FORMAT_OPTION,
    'backing-chain': { help: 'tell of the images below as well' },
    ...ALLOW_OPTION,
    'backing-format': {
      value: 'FORMAT',
      help: 'of backing files, where the image does not say it',
    },
  },
  run: async (call) => {
    const { operands, parsed, context } = call;
    const [file = ''] = operands;
    const isChain = parsed.has('backing-chain');
    const infos = await imageInfo(fullPath(file, context), {
      formatName: parseFormat(parsed),
      isChain,
      allowBacking: allowedBacking(call),
      backingFormatName: parseFormat(parsed, 'backing-format'),
      warn: call.warn,
    });
    const all = infos.map(jsonOf);
    return { json: isChain ? all : all[0], text: infos.map(describe).join('\n') };
  },
};
