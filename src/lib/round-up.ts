/** Lengths and offsets as whole numbers of units. */

/** `value` rounded up to a multiple of `unit`; exact as long as the result is a safe integer. */
export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
