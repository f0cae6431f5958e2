/** Lets the event loop turn once: what waits for it comes between. */
export function turnOfTheLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
