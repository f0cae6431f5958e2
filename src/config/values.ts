/** The values that options and the configuration file share: how each is written and read. */

import type { FormatName } from '../image/format.ts';
import { refuse } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';
import { parseSize, statedSize } from '../lib/sizes.ts';

/** As `policy/policies.ts` has them; the default first. */
export const POLICY_NAMES = [
  ...(['s3fifo-cw', 'lru', 's3fifo', 'lirs', 'w-tinylfu', '2q'] as const),
  ...(['arc', 'slru', 'sieve', 'clock-2bit', 'clock', 'fifo'] as const),
] as const;
export const MODES = ['read-only', 'writethrough', 'writearound', 'writeback'] as const;
export const FORMAT_NAMES = [
  'raw',
  'qcow2',
  'qed',
  'qcow',
  'vmdk',
  'cow',
  'luks',
] as const satisfies readonly FormatName[];
export const CODEC_NAMES = ['auto', 'lz4', 'lz4-napi'] as const;
/** How files are read and written: the best way there is, or threads only. */
export const IO_NAMES = ['auto', 'threads'] as const;

/** How long stopping may take, seconds. */
export const DRAIN_SECONDS_MAX = 86_400;

/** Longer than this a spin would be a busy loop. */
export const SPIN_MICROSECONDS_MAX = 10_000;
export const CONNECTIONS_MAX = 65_536;
const WEIGHT_MAX = 10_000;
const SWAP_BYTES_MIN = 1024 * 1024;
const SECTOR_BYTES = 512;
const RECORD_BYTES_MIN = 64 * 1024;
const COPY_RATE_MIN = 64 * 1024;
/** NBD's limit for an export's name (doc/proto.md, "Values"). */
const EXPORT_NAME_BYTES_MAX = 4096;

/** A share is rounded to a multiple of 1/this; those all print without an exponent. */
const FRACTION_STEPS = 1_000_000;

/** Reads `25%`, or a fraction from 0 to 1 such as `0.25`. Answers the fraction. */
export function parseFraction(text: string): number {
  const match = /^(\d{1,3}(?:\.\d{1,20})?)(%?)$/.exec(text);
  const fraction = match === null ? Number.NaN : Number(match[1]) / (match[2] === '%' ? 100 : 1);
  if (!(fraction <= 1))
    refuse(`"${text}" is not a share; write a percentage from 0% to 100%, as 25%`);
  return Math.round(fraction * FRACTION_STEPS) / FRACTION_STEPS;
}

/** The text that `parseFraction` reads back: whole percents as such, all else as a fraction. */
export function formatFraction(fraction: number): string {
  const percent = Math.round(fraction * 100);
  return percent / 100 === fraction ? `${percent}%` : String(fraction);
}

/** Reads a whole number from `min` to `max`. */
export function parseCount(text: string, min: number, max: number): number {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(count >= min && count <= max)) {
    refuse(`"${text}" is not a whole number from ${min} to ${max}`);
  }
  return count;
}

/** Answers `text` as one of `names`; a usage error that lists them otherwise. */
export function parseName<Name extends string>(text: string, names: readonly Name[]): Name {
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  const meant = nearest(text, names);
  const advice =
    meant === undefined ? `choose one of ${names.join(', ')}` : `did you mean ${meant}?`;
  refuse(`"${text}" is not known; ${advice}`);
}

/** Answers `name`; throws a usage error for one that NBD cannot carry. */
export function checkExportName(name: string): string {
  if (name === '')
    refuse('an export needs a name that is not empty; the first export is the default');
  if (name.includes('\0')) refuse('the name of an export may not hold a NUL; choose another');
  if (Buffer.byteLength(name) > EXPORT_NAME_BYTES_MAX) {
    refuse(`the name of an export may have ${EXPORT_NAME_BYTES_MAX} bytes; choose a shorter one`);
  }
  return name;
}

/** Answers a weight; throws a usage error for one out of range. */
export function checkWeight(weight: number): number {
  if (!(Number.isInteger(weight) && weight >= 1 && weight <= WEIGHT_MAX)) {
    refuse(`a weight of ${weight} is out of range; choose a whole number from 1 to ${WEIGHT_MAX}`);
  }
  return weight;
}

/** Answers a rate, bytes a second; throws a usage error for one that would never end. */
export function checkCopyRate(bytesPerSecond: number): number {
  if (bytesPerSecond >= COPY_RATE_MIN) return bytesPerSecond;
  refuse(`${bytesPerSecond} bytes a second is too slow a copy; choose at least 64KiB`);
}

/** Answers what recordings may come to, bytes; throws a usage error for less than is worth a file. */
export function checkRecordLimit(bytes: number): number {
  if (bytes >= RECORD_BYTES_MIN) return bytes;
  refuse(`recordings of ${statedSize(bytes)} say nothing; allow at least 64KiB`);
}

/** Answers a share of the pages; throws a usage error for none of them. */
export function checkRecordSample(share: number): number {
  if (share > 0) return share;
  refuse('a recording of no page says nothing; choose a share above 0, as 10%');
}

/** A RAM disk as it is asked for. */
export interface RamDiskRequest {
  readonly name: string;
  readonly size: number;
}

/** Reads `NAME=SIZE`. */
export function parseRamDisk(text: string): RamDiskRequest {
  const match = /^([^=]+)=([^,]+)$/s.exec(text);
  if (match === null) refuse(`"${text}" is no RAM disk; write NAME=SIZE`);
  const [, name = '', size = ''] = match;
  return { name: checkExportName(name), size: checkRamDiskSize(parseSize(size)) };
}

/** Answers the size of a RAM disk; throws a usage error for one that no disk has. */
export function checkRamDiskSize(bytes: number): number {
  if (bytes >= SECTOR_BYTES && bytes % SECTOR_BYTES === 0) return bytes;
  refuse(`a RAM disk of ${bytes} bytes cannot be; choose a multiple of 512 bytes`);
}

/** A swap device as it is asked for. */
export interface SwapRequest {
  readonly name: string;
  readonly size: number;
  readonly overflow?: string;
}

/** Reads `NAME=SIZE[,overflow=FILE]`. */
export function parseSwap(text: string): SwapRequest {
  const match = /^([^=]+)=([^,]+)(?:,overflow=(.+))?$/s.exec(text);
  if (match === null) refuse(`"${text}" is no swap device; write NAME=SIZE[,overflow=FILE]`);
  const [, name = '', size = '', overflow] = match;
  if (overflow?.includes(',overflow=')) refuse(`"${text}" names two overflow files; give one`);
  const device = { name: checkExportName(name), size: checkSwapSize(parseSize(size)) };
  return overflow === undefined ? device : { ...device, overflow };
}

/** Answers the size of a swap device; throws a usage error for one that no disk has. */
export function checkSwapSize(bytes: number): number {
  if (bytes >= SWAP_BYTES_MIN && bytes % SECTOR_BYTES === 0) return bytes;
  refuse(
    `a swap device of ${bytes} bytes cannot be; choose at least 1MiB, a multiple of 512 bytes`,
  );
}
