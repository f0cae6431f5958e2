/**
 * What the pages of an image are made of, as a compressing cache meets them: each 4 KiB page on its
 * own, zero pages apart, and pages that LZ4 cannot make smaller counted whole.
 */
import { createRequire } from 'node:module';

/** The page size all figures refer to. */
export const PAGE_BYTES = 4096;

/** Encodes `source` into `target`; returns the length, or 0 where it does not fit. */
type EncodeBlock = (source: Buffer, target: Buffer) => number;

/** Counts of pages, and the bytes the non-zero ones take after LZ4. */
export interface PageCounts {
  readonly pages: number;
  readonly zeroPages: number;
  readonly incompressiblePages: number;
  /** LZ4 bytes of the pages that are not zero; an incompressible page counts 4096. */
  readonly storedBytes: number;
}

/** The encoder of the npm `lz4` binding, which is what the server uses where it can be built. */
export function loadEncoder(): EncodeBlock {
  try {
    const lz4: { encodeBlock: EncodeBlock } = createRequire(import.meta.url)('lz4');
    return lz4.encodeBlock;
  } catch (cause) {
    throw new Error(
      'the npm lz4 binding, which measures the image, is not built: install a C++ compiler and run npm ci',
      { cause },
    );
  }
}

/** Adds up pages; `ratio` leaves zero pages out, since they would flatter it. */
export class PageStatistics implements PageCounts {
  pages = 0;
  zeroPages = 0;
  incompressiblePages = 0;
  storedBytes = 0;
  readonly #encode: EncodeBlock;
  readonly #zero = Buffer.alloc(PAGE_BYTES);
  readonly #page = Buffer.alloc(PAGE_BYTES);
  readonly #target = Buffer.alloc(PAGE_BYTES);

  constructor(encode: EncodeBlock) {
    this.#encode = encode;
  }

  /** Counts every page of `bytes`; a last partial page is padded with zeros, as on a disk. */
  add(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
      const copied = bytes.copy(this.#page, 0, at, at + PAGE_BYTES);
      this.#page.fill(0, copied);
      this.#addPage();
    }
  }

  /** The counts so far, as plain numbers. */
  counts(): PageCounts {
    const { pages, zeroPages, incompressiblePages, storedBytes } = this;
    return { pages, zeroPages, incompressiblePages, storedBytes };
  }

  #addPage(): void {
    this.pages++;
    if (this.#page.equals(this.#zero)) {
      this.zeroPages++;
      return;
    }
    const length = this.#encode(this.#page, this.#target);
    const isSmaller = length > 0 && length < PAGE_BYTES;
    if (!isSmaller) this.incompressiblePages++;
    this.storedBytes += isSmaller ? length : PAGE_BYTES;
  }
}

/** The counts of nothing. */
export const NO_PAGES: PageCounts = {
  pages: 0,
  zeroPages: 0,
  incompressiblePages: 0,
  storedBytes: 0,
};

/** The counts of both together. */
export function sumOf(a: PageCounts, b: PageCounts): PageCounts {
  return {
    pages: a.pages + b.pages,
    zeroPages: a.zeroPages + b.zeroPages,
    incompressiblePages: a.incompressiblePages + b.incompressiblePages,
    storedBytes: a.storedBytes + b.storedBytes,
  };
}

/** Original bytes over LZ4 bytes of the pages that are not zero; 1 where there are none. */
export function ratioOf(counts: PageCounts): number {
  if (counts.storedBytes === 0) return 1;
  return ((counts.pages - counts.zeroPages) * PAGE_BYTES) / counts.storedBytes;
}
