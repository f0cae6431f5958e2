/** The list of cache sizes that a user asks for: bytes, pages, shares of the footprint. */

import { refuse, TmemError } from '../../lib/errors.ts';
import { parseSize } from '../../lib/sizes.ts';

/** One size, before the footprint is known. */
export interface MemorySize {
  readonly kind: 'bytes' | 'pages' | 'share';
  /** Bytes, pages, or a share: 0.1 for `10%`. */
  readonly value: number;
  /** As it was written. */
  readonly text: string;
}

/** Sizes from a hundredth of the footprint to four fifths of it. */
export const DEFAULT_MEMORY = '1%,2%,5%,10%,20%,40%,60%,80%';

/** Sizes in one list at most: each is as many runs as there are policies. */
const SIZES_MAX = 64;
const SHARE_PERCENT_MAX = 1000;

function parseOne(text: string): MemorySize {
  const share = /^(\d{1,4}(?:\.\d{1,6})?)%$/.exec(text);
  if (share !== null) {
    const percent = Number(share[1]);
    if (percent > 0 && percent <= SHARE_PERCENT_MAX) {
      return { kind: 'share', value: percent / 100, text };
    }
    refuse(`--memory: "${text}" is out of range; give a share above 0% to ${SHARE_PERCENT_MAX}%`);
  }
  const pages = /^(\d{1,12})p$/.exec(text);
  const isBytes = pages === null;
  const value = isBytes ? bytesOf(text) : Number(pages[1]);
  if (value < 1) refuse(`--memory: "${text}" holds nothing; give at least a page`);
  return { kind: isBytes ? 'bytes' : 'pages', value, text };
}

function bytesOf(text: string): number {
  try {
    return parseSize(text);
  } catch (error) {
    if (!(error instanceof TmemError)) throw error;
    refuse(`--memory: ${error.message}; or give pages, as 1000p, or a share, as 10%`);
  }
}

/** Reads `256MiB,1000p,10%`. Throws a usage error for what is none of these. */
export function parseMemoryList(text: string): MemorySize[] {
  const parts = text.split(',').map((part) => part.trim());
  if (parts.length > SIZES_MAX)
    refuse(`--memory has ${parts.length} sizes; give ${SIZES_MAX} at most`);
  return parts.map(parseOne);
}

/** What the sizes are shares of, and counted in. */
export interface MemoryUnits {
  readonly unit: 'bytes' | 'keys';
  readonly pageBytes: number;
  readonly footprintPages: number;
}

/**
 * The sizes in whole pages, at least 1, in order and each once. Throws a usage error for bytes of a
 * trace whose objects have none, and for bytes that hold no page.
 */
export function capacitiesOf(sizes: readonly MemorySize[], units: MemoryUnits): number[] {
  const pages = sizes.map((size) => pagesOf(size, units));
  return [...new Set(pages)].sort((one, other) => one - other);
}

function pagesOf({ kind, value, text }: MemorySize, units: MemoryUnits): number {
  if (kind === 'pages') return value;
  if (kind === 'share') return Math.max(1, Math.round(value * units.footprintPages));
  if (units.unit === 'keys') {
    refuse(
      `--memory: the trace has objects without a size, so "${text}" means nothing; give 1000p or 10%`,
    );
  }
  const pages = Math.floor(value / units.pageBytes);
  if (pages < 1) refuse(`--memory: "${text}" holds no page of ${units.pageBytes} bytes; give more`);
  return pages;
}
