/** What images of a chain ask of each other: each shows through the holes of the one above it. */

import { Users } from '../lib/users.ts';

/** A run of an image's bytes of one allocation state. */
export interface ImageExtent {
  /** Bytes from the offset that was asked for; at least 1. */
  readonly length: number;
  /** No space is taken for what is read here: writing may take some. */
  readonly isHole: boolean;
  /** The bytes are known to be zeros without reading them. */
  readonly isZero: boolean;
  /** Any image of the chain defines the bytes, if only as zeros. */
  readonly isAllocated: boolean;
  readonly isCompressed: boolean;
  /** As `ImageOwner.depth`. */
  readonly depth: number;
}

/** Which image of a chain defines a run of bytes. */
export interface ImageOwner {
  /** 0 for the image that was asked, 1 for its backing image, and so on. */
  readonly depth: number;
  /** Bytes from the offset that was asked for; at least 1, and at most what was asked for. */
  readonly length: number;
}

/** An image below another, as that one uses it; see `BlockImage`. */
export interface ChainedImage {
  readonly virtualSizeBytes: number;
  read(buffer: Buffer, bufferOffset: number, length: number, offset: number): Promise<void>;
  extent(offset: number, length: number): Promise<ImageExtent>;
  ownerOf(offset: number, length: number): ImageOwner | Promise<ImageOwner>;
}

/** The image below another for as long as that one needs it, and who is reading it. */
export class Below {
  #image: ChainedImage | undefined;
  readonly #users = new Users();

  constructor(image: ChainedImage | undefined) {
    this.#image = image;
  }

  get image(): ChainedImage | undefined {
    return this.#image;
  }

  /** Passes on what was asked of the image. */
  use<Answer>(answer: Promise<Answer>): Promise<Answer> {
    return this.#users.during(answer);
  }

  /** Nobody finds the image any more; resolves when nobody uses it. */
  letGo(): Promise<void> {
    this.#image = undefined;
    return this.#users.gone();
  }
}
