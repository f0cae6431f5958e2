/** Steps of axes that are round for people: of times, and of sizes in bytes. */

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Steps of at least a second; below, and above days, steps are decimal. */
const TIME_STEPS = [
  ...[1, 2, 5, 10, 15, 30],
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 3, 6, 12].map((hours) => hours * HOUR),
  ...[1, 2].map((days) => days * DAY),
];

/** The smallest of 1, 2 or 5 times a power of ten that is not below `value`. */
function decimalStep(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5].find((factor) => factor * power >= value) ?? 10) * power;
}

/** Seconds from one tick to the next, for at most `ticks` of them in `span` seconds. */
export function timeStep(span: number, ticks = 8): number {
  const least = span / ticks;
  if (!(least > 0)) return 1;
  if (least < 1) return decimalStep(least);
  return TIME_STEPS.find((step) => step >= least) ?? decimalStep(least / DAY) * DAY;
}

/** Bytes from one tick to the next, a power of two, for at most `ticks` of them in `span` bytes. */
export function sizeStep(span: number, ticks = 6): number {
  return 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(1, span / ticks))));
}
