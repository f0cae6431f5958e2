/** Sizes in bytes as people write them, `256MiB` or `1.5GiB`. Every suffix is binary. */

import { TmemError } from './errors.ts';

const KIB = 1024;
const UNITS = ['KiB', 'MiB', 'GiB', 'TiB'] as const;

/** Factors by suffix in lower case: `K`, `M`, `G` and `T` mean the same as `KiB` and so on. */
const FACTORS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['b', 1],
  ...UNITS.flatMap((unit, index): [string, number][] => {
    const factor = KIB ** (index + 1);
    return [
      [unit.toLowerCase(), factor],
      [unit.slice(0, 1).toLowerCase(), factor],
    ];
  }),
]);

const SHAPE = /^(\d{1,16})(\.\d{1,9})?([A-Za-z]{0,3})$/;

function refuse(text: string, advice: string): never {
  throw new TmemError('usage', `"${text.slice(0, 40)}" ${advice}`, { context: { size: text } });
}

/**
 * The bytes that `text` stands for: digits, at most one decimal point, and a suffix. A fraction is
 * rounded down to whole bytes. Throws a usage error for anything else; `KB`, `MB` and `GB` are
 * refused because half the world takes them for powers of ten.
 */
export function parseSize(text: string): number {
  const match = SHAPE.exec(text);
  if (match === null)
    refuse(text, 'is not a size; write bytes or a number with a suffix, as 256MiB');
  const [, whole = '', fraction = '', suffix = ''] = match;
  if (/^[kmgt]b$/i.test(suffix)) {
    refuse(text, `is ambiguous; write ${whole}${fraction}${suffix.slice(0, 1).toUpperCase()}iB`);
  }
  const factor = FACTORS.get(suffix.toLowerCase());
  if (factor === undefined) refuse(text, 'has no known suffix; use KiB, MiB, GiB or TiB');
  if (fraction !== '' && factor === 1) refuse(text, 'is not a whole number of bytes');
  const bytes = Math.floor(Number(whole + fraction) * factor);
  if (!Number.isSafeInteger(bytes)) refuse(text, 'is too large; the most is 8191TiB');
  return bytes;
}

/** `bytes` for people to read: two decimals at most, `1.46GiB`. Not exact; see `exactSize`. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let suffix = 'B';
  for (const unit of UNITS) {
    // Rounded first, so that 1023.999 becomes 1 of the next unit rather than "1024".
    if (Number(value.toFixed(2)) < KIB) break;
    value /= KIB;
    suffix = unit;
  }
  return `${Number(value.toFixed(2))}${suffix}`;
}

/** As `exactSize`, for people: bytes that no unit divides are called bytes. */
export function statedSize(bytes: number): string {
  const exact = exactSize(bytes);
  if (exact !== String(bytes)) return exact;
  return bytes < KIB ? `${exact} bytes` : `${exact} bytes (${formatSize(bytes)})`;
}

/** `bytes` in the largest unit that divides it, so that `parseSize` gives back the same number. */
export function exactSize(bytes: number): string {
  let value = bytes;
  let suffix = '';
  for (const unit of UNITS) {
    if (value === 0 || value % KIB !== 0) break;
    value /= KIB;
    suffix = unit;
  }
  return `${value}${suffix}`;
}
