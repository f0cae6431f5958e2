/** Numbers as a person reads them. */

/** `93.1 %`; never rounded to all or nothing. */
export function formatPercent(fraction: number): string {
  const rounded = Math.round(fraction * 1000) / 10;
  const shown = fraction < 1 ? Math.min(rounded, 99.9) : rounded;
  return `${(fraction > 0 ? Math.max(shown, 0.1) : shown).toFixed(1)} %`;
}

/** `1,234,567`. By hand: loading the rules of languages takes longer than many a command. */
export function formatCount(count: number): string {
  return `${Math.round(count)}`.replace(/\B(?=(?:\d{3})+$)/g, ',');
}

/** `1 request`, `1,234 requests`. */
export function formatCounted(count: number, one: string, many: string): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** `12.3/s` below a hundred, whole numbers above. */
export function formatRate(perSecond: number): string {
  const rounded = Math.round(perSecond * 10) / 10;
  return rounded < 100 && !Number.isInteger(rounded)
    ? `${rounded.toFixed(1)}/s`
    : `${formatCount(rounded)}/s`;
}

/** The two largest units that count: `4 d 3 h`, `2 min 5 s`, `3.2 s`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 24
    ? `${hours} h ${minutes % 60} min`
    : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
