/** The payload of a WRITE that was refused: it is read and thrown away, and then answered. */
export class PayloadDrain {
  #bytesLeft = 0;
  #then: (() => void) | undefined;

  /** Whether bytes of the input still belong to such a payload. */
  get isActive(): boolean {
    return this.#bytesLeft > 0;
  }

  /** Throws the next `bytes` away, at least 1, and calls `then`. */
  begin(bytes: number, then: () => void): void {
    this.#bytesLeft = bytes;
    this.#then = then;
  }

  /** Takes from `available` bytes; answers how many. */
  take(available: number): number {
    const taken = Math.min(this.#bytesLeft, available);
    this.#bytesLeft -= taken;
    if (this.#bytesLeft === 0) {
      const then = this.#then;
      this.#then = undefined;
      then?.();
    }
    return taken;
  }
}
