/**
 * The descriptor of a VMDK, in a file of its own or inside a sparse extent: VMware's "Virtual Disk
 * Format 5.0", section "The Descriptor File". It is read byte by byte as it lies, so that what is
 * not UTF-8 stays as it is; only names are decoded, as the descriptor says.
 */

import { decodeText } from '../../../lib/decode-text.ts';
import { damaged, unsupported } from './damage.ts';
import { SECTOR_BYTES } from './sparse-header.ts';

export const DESCRIPTOR_BYTES_MAX = 1 << 20;
/** 2^41 bytes each: together they fill the numbers that are exact. */
export const EXTENTS_MAX = 4096;
const NAME_BYTES_MAX = 1023;
/** The CID of an image without a parent. */
export const NO_PARENT_CID = 0xffff_ffff;

/** A comment of ours: see `Descriptor.parentCidNext`. */
const NEXT_CONTENT = /^\s*#\s*tmem: the parent may have the content ([0-9a-f]{1,8}) by now\s*$/i;

const FIRST_LINE = /^\s*#\s*disk\s*descriptorfile\s*$/i;
/** What is behind the sign is trimmed apart: a pattern that does it takes the square of the spaces. */
const ASSIGNMENT = /^\s*([a-z][\w.]*)\s*=(.*)$/is;
const EXTENT_BEGIN = /^\s*(rw|rdonly|noaccess)\s/i;
const EXTENT =
  /^\s*(?<access>rw|rdonly|noaccess)\s+(?<sectors>\d{1,16})\s+(?<type>[a-z]+)(?:\s+"(?<name>[^"]*)"(?:\s+(?<offset>\d{1,16}))?)?\s*$/i;

const CREATE_TYPES = [
  ...['monolithicSparse', 'streamOptimized', 'monolithicFlat', 'twoGbMaxExtentSparse'],
  ...['twoGbMaxExtentFlat', 'vmfs', 'vmfsSparse'],
];

const EXTENT_TYPES = ['FLAT', 'SPARSE', 'ZERO', 'VMFS', 'VMFSSPARSE'] as const;
export type ExtentType = (typeof EXTENT_TYPES)[number];

/** One line of the list of extents. */
export interface ExtentLine {
  readonly access: 'RW' | 'RDONLY' | 'NOACCESS';
  readonly lengthBytes: number;
  readonly type: ExtentType;
  /** As the descriptor says it, decoded; undefined for zeros, which are in no file. */
  readonly name: string | undefined;
  /** Where a flat extent begins in its file. */
  readonly fileOffset: number;
}

export interface Descriptor {
  /** As it is written there, of the types known here. */
  readonly createType: string;
  readonly version: number;
  readonly cid: number;
  /** Where the digits of the CID are in the descriptor, and how many. */
  readonly cidOffset: number;
  readonly cidDigits: number;
  readonly parentCid: number;
  /** What the parent may say of itself as well, while a commit into it changes that. */
  readonly parentCidNext: number | undefined;
  /** What a parent is called; there is one exactly when `parentCid` is not `NO_PARENT_CID`. */
  readonly parentName: string | undefined;
  readonly extents: readonly ExtentLine[];
  /** Another file says which sectors have changed; whoever writes would have to keep it. */
  readonly hasTrackedChanges: boolean;
  readonly adapterType: string | undefined;
  readonly hardwareVersion: string | undefined;
}

interface Line {
  readonly text: string;
  readonly offset: number;
}

/** Where messages say that a descriptor is. */
interface Place {
  readonly name: string;
  readonly offset: number;
}

/** A content identifier as descriptors have it: eight hexadecimal digits. */
export function cidText(cid: number): string {
  return cid.toString(16).padStart(8, '0');
}

/** Whether the line is what `nextContentLine` makes. */
export function isNextContentLine(line: string): boolean {
  return NEXT_CONTENT.test(line);
}

/** The line that says `Descriptor.parentCidNext`; other programs pass over it. */
export function nextContentLine(cid: number): string {
  return `# tmem: the parent may have the content ${cidText(cid)} by now`;
}

export function hasParent({ parentCid }: Descriptor): boolean {
  return parentCid !== NO_PARENT_CID;
}

export function looksLikeDescriptor(bytes: Buffer): boolean {
  const { text } = linesOf(bytes).find((line) => line.text.trim() !== '') ?? { text: '' };
  return FIRST_LINE.test(text);
}

/** The descriptor in `bytes`, up to the first NUL, which lie at `offset` of the file `name`. */
export function parseDescriptor(bytes: Buffer, name: string, offset = 0): Descriptor {
  const place = { name, offset };
  if (!looksLikeDescriptor(bytes)) throw damaged(name, offset, 'no descriptor begins here');
  const values = new Map<string, Line>();
  const extentLines: Line[] = [];
  let parentCidNext: number | undefined;
  for (const line of linesOf(bytes)) {
    if (EXTENT_BEGIN.test(line.text)) extentLines.push(line);
    const [, next] = NEXT_CONTENT.exec(line.text) ?? [];
    if (next !== undefined) parentCidNext = Number.parseInt(next, 16);
    const [, key, rest] = ASSIGNMENT.exec(line.text) ?? [];
    if (key === undefined || rest === undefined) continue;
    const value = rest.trim();
    const at = line.text.indexOf(value, line.text.indexOf('=') + 1);
    values.set(key.toLowerCase(), { text: value, offset: line.offset + Math.max(0, at) });
  }
  if (extentLines.length > EXTENTS_MAX) {
    throw damaged(name, offset, `${extentLines.length} extents are more than ${EXTENTS_MAX}`);
  }
  for (const [key, line] of values) {
    if (!key.startsWith('encryption.')) continue;
    const cause = 'it is enciphered by VMware';
    throw unsupported(
      name,
      offset + line.offset,
      cause,
      'decipher it with the program that made it',
    );
  }
  const encoding = values.get('encoding');
  const label = encoding === undefined ? 'utf-8' : unquoted(encoding, place);
  const extents = extentLines.map((line) => parseExtent(line, label, place));
  const cid = required(values, 'cid', place);
  const parent = readParent(values, label, place);
  return {
    createType: readCreateType(values, place),
    version: readVersion(values, place),
    cid: hexOf(cid, place),
    cidOffset: cid.offset,
    cidDigits: cid.text.length,
    ...parent,
    parentCidNext,
    extents,
    hasTrackedChanges: values.has('changetrackpath'),
    adapterType: optional(values, 'ddb.adaptertype', place),
    hardwareVersion: optional(values, 'ddb.virtualhwversion', place),
  };
}

function linesOf(bytes: Buffer): Line[] {
  const end = bytes.indexOf(0);
  const text = bytes.toString('latin1', 0, end < 0 ? bytes.length : end);
  const lines: Line[] = [];
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf('\n', at);
    const lineEnd = newline < 0 ? text.length : newline;
    lines.push({ text: text.slice(at, lineEnd).replace(/\r$/, ''), offset: at });
    at = lineEnd + 1;
  }
  return lines;
}

function required(values: ReadonlyMap<string, Line>, key: string, place: Place): Line {
  const line = values.get(key);
  if (line !== undefined) return line;
  throw damaged(place.name, place.offset, `the descriptor has no ${key}`);
}

function optional(values: ReadonlyMap<string, Line>, key: string, place: Place) {
  const line = values.get(key);
  return line === undefined ? undefined : harmless(unquoted(line, place));
}

/** What is shown of a value: no byte of it can steer a terminal. */
function harmless(text: string): string {
  return text.replace(/[^ -~]/g, '?').slice(0, 64);
}

function unquoted({ text, offset }: Line, { name, offset: base }: Place): string {
  if (!text.includes('"')) return text;
  const [, inner] = /^"([^"]*)"$/.exec(text) ?? [];
  if (inner === undefined) throw damaged(name, base + offset, 'a quotation mark is missing');
  return inner;
}

function hexOf({ text, offset }: Line, { name, offset: base }: Place): number {
  if (/^[0-9a-f]{1,8}$/i.test(text)) return Number.parseInt(text, 16);
  throw damaged(name, base + offset, `"${harmless(text)}" is no content identifier`);
}

function readVersion(values: ReadonlyMap<string, Line>, { name, offset }: Place): number {
  const line = values.get('version');
  if (line === undefined) return 1;
  if (/^[1-4]$/.test(line.text)) return Number(line.text);
  const cause = `it has a descriptor of version ${harmless(line.text)}`;
  throw unsupported(name, offset + line.offset, cause, 'convert it to version 1');
}

function readCreateType(values: ReadonlyMap<string, Line>, place: Place): string {
  const line = required(values, 'createtype', place);
  const wanted = unquoted(line, place);
  const type = CREATE_TYPES.find((each) => each.toLowerCase() === wanted.toLowerCase());
  if (type !== undefined) return type;
  const cause = `it is a VMDK of the type "${harmless(wanted)}"`;
  throw unsupported(
    place.name,
    place.offset + line.offset,
    cause,
    'convert it to monolithicSparse',
  );
}

function readParent(values: ReadonlyMap<string, Line>, encoding: string, place: Place) {
  const line = values.get('parentcid');
  const parentCid = line === undefined ? NO_PARENT_CID : hexOf(line, place);
  if (parentCid === NO_PARENT_CID) return { parentCid, parentName: undefined };
  const hint = required(values, 'parentfilenamehint', place);
  const parentName = decodeName(unquoted(hint, place), encoding, hint.offset, place);
  return { parentCid, parentName };
}

function parseExtent({ text, offset }: Line, encoding: string, place: Place): ExtentLine {
  const { name: file, offset: base } = place;
  const parts = EXTENT.exec(text)?.groups;
  if (parts === undefined) throw damaged(file, base + offset, 'this line describes no extent');
  const wanted = (parts.type ?? '').toUpperCase();
  const type = EXTENT_TYPES.find((each) => each === wanted);
  if (type === undefined) {
    const cause = `it has an extent of the type ${harmless(wanted)}`;
    throw unsupported(file, base + offset, cause, 'convert it with the program that wrote it');
  }
  const lengthBytes = Number(parts.sectors) * SECTOR_BYTES;
  const fileOffset = Number(parts.offset ?? 0) * SECTOR_BYTES;
  if (lengthBytes === 0) throw damaged(file, base + offset, 'this extent has no sectors');
  if (!Number.isSafeInteger(lengthBytes + fileOffset)) {
    throw damaged(file, base + offset, 'this extent has more sectors than there can be');
  }
  if ((parts.name === undefined) !== (type === 'ZERO')) {
    throw damaged(file, base + offset, `this extent of ${type} must name a file, and zeros none`);
  }
  if (fileOffset !== 0 && type !== 'FLAT' && type !== 'VMFS') {
    throw damaged(file, base + offset, `an extent of ${type} begins at the begin of its file`);
  }
  const access = (parts.access ?? '').toUpperCase() as ExtentLine['access'];
  const { name } = parts;
  const decoded = name === undefined ? undefined : decodeName(name, encoding, offset, place);
  return { access, lengthBytes, type, name: decoded, fileOffset };
}

/** A name in the descriptor's encoding, as the file system has it. */
function decodeName(latin1: string, encoding: string, at: number, place: Place): string {
  const { name: file, offset } = place;
  if (latin1 === '') throw damaged(file, offset + at, 'a file has an empty name');
  if (latin1.length > NAME_BYTES_MAX) {
    throw damaged(file, offset + at, `a file name is longer than ${NAME_BYTES_MAX} bytes`);
  }
  let name: string;
  try {
    name = decodeText(Buffer.from(latin1, 'latin1'), encoding);
  } catch {
    const cause = `a file name is not in the encoding "${harmless(encoding)}"`;
    throw damaged(file, offset + at, cause);
  }
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code < 0x20 || code === 0x7f) {
      throw damaged(file, offset + at, 'a file name has a control character in it');
    }
  }
  return name;
}
