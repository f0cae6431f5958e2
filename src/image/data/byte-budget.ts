/** Bytes that may be in use at a time: who wants more than is left waits its turn. */

interface Waiting {
  readonly bytes: number;
  readonly resolve: () => void;
}

export class ByteBudget {
  readonly #bytesMax: number;
  readonly #waiting: Waiting[] = [];
  #usedBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Undefined when the bytes are taken at once. More than all of them is for one at a time. */
  take(bytes: number): Promise<void> | undefined {
    if (this.#waiting.length === 0 && this.#hasRoom(bytes)) {
      this.#usedBytes += bytes;
      return undefined;
    }
    return new Promise((resolve) => this.#waiting.push({ bytes, resolve }));
  }

  /** Gives back what was taken. */
  give(bytes: number): void {
    this.#usedBytes -= bytes;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (!this.#hasRoom(next.bytes)) return;
      this.#usedBytes += next.bytes;
      this.#waiting.shift();
      next.resolve();
    }
  }

  #hasRoom(bytes: number): boolean {
    return this.#usedBytes === 0 || this.#usedBytes + bytes <= this.#bytesMax;
  }
}
