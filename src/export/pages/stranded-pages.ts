/**
 * The last resort: pages that were acknowledged, and that neither memory nor the image takes when one
 * of their writes fails. They lie in buffers of their own until either does. There is room for a few:
 * whoever hears that writes fail soon makes no more.
 */

/** Bytes that may lie here, of one export: four of the largest pages. */
export const STRANDED_BYTES_MAX = 256 * 1024;

export class StrandedPages {
  readonly #pageBytes: number;
  readonly #countMax: number;
  readonly #buffers = new Map<number, Buffer>();

  constructor(pageBytes: number) {
    this.#pageBytes = pageBytes;
    this.#countMax = Math.floor(STRANDED_BYTES_MAX / pageBytes);
  }

  /** Copies the page in; no when there is no room. */
  put(page: number, src: Buffer, srcOffset: number): boolean {
    if (!this.#buffers.has(page) && this.#buffers.size >= this.#countMax) return false;
    this.#buffers.set(page, Buffer.from(src.subarray(srcOffset, srcOffset + this.#pageBytes)));
    return true;
  }

  /** Copies the page out; no when it is not here. */
  get(page: number, dst: Buffer, dstOffset: number): boolean {
    const buffer = this.#buffers.size > 0 ? this.#buffers.get(page) : undefined;
    buffer?.copy(dst, dstOffset);
    return buffer !== undefined;
  }

  /** Forgets the page; answers whether it was here. */
  delete(page: number): boolean {
    return this.#buffers.size > 0 && this.#buffers.delete(page);
  }
}
