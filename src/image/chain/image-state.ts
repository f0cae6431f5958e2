/** What is allocated where in an image, and in which image of its chain. */

import type { Below, ImageExtent, ImageOwner } from '../below.ts';
import type { ImageReads } from '../data/image-reads.ts';
import type { ImageFormat, Mapping } from '../format.ts';

/** Data that this image has. */
const DATA = {
  isHole: false,
  isZero: false,
  isAllocated: true,
  isCompressed: false,
  depth: 0,
} as const;

/** Ranges lie inside the image and are not empty: the caller sees to it. */
export class ImageState {
  readonly #format: ImageFormat;
  readonly #below: Below;
  readonly #reads: ImageReads;

  constructor(format: ImageFormat, below: Below, reads: ImageReads) {
    this.#format = format;
    this.#below = below;
    this.#reads = reads;
  }

  /** As `BlockImage.extent`. */
  async extent(offset: number, length: number): Promise<ImageExtent> {
    const run = await this.#format.map(offset, length);
    const bytes = Math.min(run.length, length);
    if (run.kind === 'data') return this.#dataExtent(run, bytes);
    if (run.kind === 'compressed') return { ...DATA, length: bytes, isCompressed: true };
    if (run.kind === 'zero') {
      return { ...DATA, length: bytes, isZero: true, isHole: run.hasSpace !== true };
    }
    const backedBytes = this.#reads.backedBytes(offset, bytes);
    const backing = this.#below.image;
    if (backing === undefined || backedBytes === 0) {
      return { ...DATA, length: bytes, isHole: true, isZero: true, isAllocated: false };
    }
    const below = await this.#below.use(backing.extent(offset, backedBytes));
    return { ...below, depth: below.depth + 1 };
  }

  /** As `BlockImage.ownerOf`; most answers come at once. */
  ownerOf(offset: number, length: number): ImageOwner | Promise<ImageOwner> {
    const { epochs } = this.#format;
    const epoch = epochs?.enter() ?? 0;
    let mapped: Mapping | Promise<Mapping> | undefined;
    try {
      mapped = this.#format.map(offset, length);
    } finally {
      if (!(mapped instanceof Promise)) epochs?.leave(epoch);
    }
    if (mapped instanceof Promise) {
      return mapped
        .finally(() => epochs?.leave(epoch))
        .then((run) => this.#ownerOfRun(run, offset, length));
    }
    return this.#ownerOfRun(mapped, offset, length);
  }

  #ownerOfRun(run: Mapping, offset: number, length: number): ImageOwner | Promise<ImageOwner> {
    const bytes = Math.min(run.length, length);
    const backedBytes = run.kind === 'hole' ? this.#reads.backedBytes(offset, bytes) : 0;
    const backing = this.#below.image;
    if (backing === undefined || backedBytes === 0) return { depth: 0, length: bytes };
    const owner = backing.ownerOf(offset, backedBytes);
    if (!(owner instanceof Promise)) return oneDeeper(owner);
    return this.#below.use(owner).then(oneDeeper);
  }

  /** Space in a file that was never written, or given back, is a hole of the file. */
  async #dataExtent(
    { storage, storageOffset, cipher }: Extract<Mapping, { kind: 'data' }>,
    length: number,
  ): Promise<ImageExtent> {
    if (cipher !== undefined) return { ...DATA, length };
    const storedBytes = storage.sizeBytes - storageOffset;
    if (storedBytes <= 0) return { ...DATA, length, isHole: true, isZero: true };
    const extent = await storage.extent(storageOffset, Math.min(length, storedBytes));
    const { isHole } = extent;
    return { ...DATA, length: extent.length, isHole, isZero: isHole };
  }
}

function oneDeeper({ depth, length }: ImageOwner): ImageOwner {
  return { depth: depth + 1, length };
}
