/**
 * Whose turn it is to write a file: writes around the page cache go side by side, and so do writes
 * through it, but never both together. A write around it that finds its pages there, or farther ones
 * in the same large folio, made dirty by another write in the meantime cannot drop them: Linux calls
 * that a possible corruption and fails the next fdatasync. A blocking write has the inode's lock for
 * its whole duration; one that the kernel carries out by itself has not.
 */
export class WriteTurns {
  #isBuffered = false;
  #underWayCount = 0;
  readonly #waiting: { readonly isBuffered: boolean; readonly begin: () => void }[] = [];

  /** Calls `begin` when it is the turn of its kind, now or later; `end` must follow. */
  enter(isBuffered: boolean, begin: () => void): void {
    const isTheirTurn = this.#underWayCount === 0 || this.#isBuffered === isBuffered;
    // Whoever waits is not overtaken, or it would wait for as long as others come.
    if (!isTheirTurn || this.#waiting.length > 0) {
      this.#waiting.push({ isBuffered, begin });
      return;
    }
    this.#isBuffered = isBuffered;
    this.#underWayCount++;
    begin();
  }

  /** A write has ended, however it did. */
  end(): void {
    this.#underWayCount--;
    if (this.#underWayCount > 0) return;
    const isBuffered = this.#waiting[0]?.isBuffered;
    if (isBuffered === undefined) return;
    const other = this.#waiting.findIndex((each) => each.isBuffered !== isBuffered);
    const next = this.#waiting.splice(0, other === -1 ? this.#waiting.length : other);
    this.#isBuffered = isBuffered;
    this.#underWayCount = next.length;
    for (const each of next) each.begin();
  }
}
