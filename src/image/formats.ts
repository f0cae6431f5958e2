/**
 * The formats there are. Which one a file is of is said by whoever opens it, or by its name, and
 * never by its content: a guest writes the content of a raw image, and could make it name files.
 */

import type { Storage } from '../storage/storage.ts';
import type { FormatDriver, FormatName } from './format.ts';
import { readPadded } from './tables/read-padded.ts';

/** Loaded when first asked for: most services need one of them. */
const DRIVERS: Readonly<Record<FormatName, () => Promise<FormatDriver>>> = {
  raw: async () => (await import('./raw.ts')).rawDriver,
  qcow2: async () => (await import('./qcow2/driver.ts')).qcow2Driver,
  qed: async () => (await import('./qed/driver.ts')).qedDriver,
  qcow: async () => (await import('./qcow/driver.ts')).qcowDriver,
  vmdk: async () => (await import('./vmdk/driver.ts')).vmdkDriver,
  cow: async () => (await import('./cow/driver.ts')).cowDriver,
  luks: async () => (await import('./luks/driver.ts')).luksDriver,
};

/** By the last part of a file's name. */
const FORMAT_OF_SUFFIX: Readonly<Record<string, FormatName>> = {
  qcow2: 'qcow2',
  qed: 'qed',
  qcow: 'qcow',
  vmdk: 'vmdk',
  cow: 'cow',
  luks: 'luks',
};

/** How images of the formats begin, as Latin-1. */
const MAGICS: readonly (readonly [string, FormatName])[] = [
  ['QFI\xfb\0\0\0\x01', 'qcow'],
  ['QFI\xfb', 'qcow2'],
  ['QED\0', 'qed'],
  ['KDMV', 'vmdk'],
  ['COWD', 'vmdk'],
  ['# Disk DescriptorFile', 'vmdk'],
  ['TMEMCOW\0', 'cow'],
  ['LUKS\xba\xbe', 'luks'],
];
const MAGIC_BYTES_MAX = 32;

export function driverOf(formatName: FormatName): Promise<FormatDriver> {
  return DRIVERS[formatName]();
}

/** The format that a file's name stands for; raw where it stands for none. */
export function formatNameOf(path: string): FormatName {
  const suffix = /[^/]\.([^./]+)$/.exec(path)?.[1]?.toLowerCase() ?? '';
  return Object.hasOwn(FORMAT_OF_SUFFIX, suffix) ? (FORMAT_OF_SUFFIX[suffix] ?? 'raw') : 'raw';
}

/** The format that a file looks to be of; only to be said to people, never to be acted upon. */
export async function looksLike(storage: Storage): Promise<FormatName | undefined> {
  const bytes = Buffer.alloc(MAGIC_BYTES_MAX);
  await readPadded(storage, bytes, 0, bytes.length, 0);
  const beginning = bytes.toString('latin1');
  return MAGICS.find(([magic]) => beginning.startsWith(magic))?.[1];
}

/** Warns of a file that nobody called raw, is taken for that, and begins as another image does. */
export async function warnOfContent(
  storage: Storage,
  formatName: FormatName,
  { warn }: { readonly warn?: ((message: string) => void) | undefined },
): Promise<void> {
  if (warn === undefined || formatName !== 'raw') return;
  const other = await looksLike(storage);
  if (other === undefined) return;
  warn(`"${storage.name}" begins as a ${other} image does, and is taken for raw: say its format`);
}
