/** Numbers as only a report shows them. */
import { formatCounted } from '../../lib/quantities.ts';

/** `1.2 M`, for axes. */
export function shortCount(value: number): string {
  if (value >= 1e9) return `${short(value / 1e9)} G`;
  if (value >= 1e6) return `${short(value / 1e6)} M`;
  if (value >= 1e3) return `${short(value / 1e3)} k`;
  return short(value);
}

function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** `64 MiB`, `1.03 GiB`: a size in three digits, or four below the next unit. */
export function size(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (Math.round(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const shown = value >= 1000 ? Math.round(value) : Number(value.toPrecision(3));
  return `${shown} ${UNITS[unit]}`;
}

/** What a number of pages is called: bytes where pages have bytes, else the number. */
export function pagesAs(pages: number, pageBytes: number, unit: 'bytes' | 'keys'): string {
  if (unit === 'bytes') return size(pages * pageBytes);
  return formatCounted(pages, 'object', 'objects');
}

/** What no cache can avoid to miss, by what writes do. */
export function coldName(ops: string): string {
  return ops === 'writes-invalidate' ? 'first uses and uses right after a write' : 'first uses';
}

/** `2 h 5 min`, `3.2 s`, `12 ms`. */
export function duration(seconds: number): string {
  if (seconds < 1) return `${short(seconds * 1000)} ms`;
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48
    ? `${hours} h ${minutes % 60} min`
    : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A time on an axis: `90 s`, `12 min`, `3.5 h`. */
export function axisTime(seconds: number, span: number): string {
  if (span > 3 * 86_400) return `${short(seconds / 86_400)} d`;
  if (span > 3 * 3600) return `${short(seconds / 3600)} h`;
  if (span > 180) return `${short(seconds / 60)} min`;
  if (span > 0.5) return `${short(seconds)} s`;
  return `${short(seconds * 1000)} ms`;
}
