/**
 * What the pages of a trace hold, for the engine with real data: traces seldom say, so that it is
 * made up to a model of how well pages compress, or read from an image.
 */
import { readSync } from 'node:fs';
import { TmemError } from '../../lib/errors.ts';
import { hashPage } from './page-ids.ts';
import type { PageStream } from './page-stream.ts';

/** Gives the bytes of pages. Synchronous: the whole replay is. */
export interface PageContents {
  /** For people: how the contents were made. */
  readonly description: string;
  /** Writes the page of that number in the stream to all of `dst`. */
  fill(page: number, dst: Buffer): void;
}

/** A sort of pages, by what LZ4 leaves of them. */
export interface PageClass {
  /** Its part of all regions, 0 to 1; those of a model sum up to 1. */
  readonly share: number;
  /** Least and greatest compressed size, as parts of a page; 0 is one word repeated. */
  readonly ratioMin: number;
  readonly ratioMax: number;
}

/** Contents by region: neighbouring pages belong to one file, and compress alike. */
export interface ContentModel {
  readonly classes: readonly PageClass[];
  /** Pages of a region; a power of two. */
  readonly regionPages: number;
}

/**
 * A system disk, roughly: 15 % of one word, 50 % text and tables, 20 % programs, 15 % of what is
 * compressed already.
 */
export const MIXED_CONTENT: ContentModel = {
  regionPages: 64,
  classes: [
    { share: 0.15, ratioMin: 0, ratioMax: 0 },
    { share: 0.5, ratioMin: 0.2, ratioMax: 0.55 },
    { share: 0.2, ratioMin: 0.5, ratioMax: 0.85 },
    { share: 0.15, ratioMin: 1, ratioMax: 1 },
  ],
};

/** All pages compress to the same part of a page, above 0 to 1. */
export function evenContent(ratio: number): ContentModel {
  return { regionPages: 1, classes: [{ share: 1, ratioMin: ratio, ratioMax: ratio }] };
}

/** Compressed sizes that are told apart in a class; pages of one step share their bytes. */
const STEPS_PER_CLASS = 16;
const U32 = 0x1_0000_0000;

/** Pages made up to a model: the same seed gives the same pages. */
export class SynthesisedContents implements PageContents {
  readonly description: string;
  private readonly stream: PageStream;
  private readonly model: ContentModel;
  private readonly seed: number;
  /** Pages of each step of each class. */
  private readonly pages: readonly (readonly Buffer[])[];

  constructor(stream: PageStream, pageBytes: number, model = MIXED_CONTENT, seed = 1) {
    const parts = model.classes.map(
      ({ share, ratioMin, ratioMax }) =>
        `${Math.round(share * 100)} % of ${Math.round(ratioMin * 100)} to ` +
        `${Math.round(ratioMax * 100)} %`,
    );
    this.description = `made up, compressible: ${parts.join(', ')}`;
    this.stream = stream;
    this.model = model;
    this.seed = seed;
    const noise = noiseOf(pageBytes, seed);
    this.pages = model.classes.map(({ ratioMin, ratioMax }) =>
      Array.from({ length: STEPS_PER_CLASS }, (_, step) => {
        const ratio = ratioMin + ((ratioMax - ratioMin) * (step + 0.5)) / STEPS_PER_CLASS;
        return pageOf(noise, ratio);
      }),
    );
  }

  fill(page: number, dst: Buffer): void {
    const { classes, regionPages } = this.model;
    const number = this.stream.numberOfPage[page]!;
    const volume = this.stream.volumeOfPage[page]!;
    const region = hashPage(volume, Math.floor(number / regionPages) + this.seed * 2 ** 33);
    let part = region / U32;
    let at = 0;
    while (at < classes.length - 1 && part >= classes[at]!.share) part -= classes[at++]!.share;
    const step = hashPage(volume, number) & (STEPS_PER_CLASS - 1);
    this.pages[at]![step]!.copy(dst);
  }
}

/** Pages as they are in a file of raw bytes, beyond whose end all is zero. */
export class FileContents implements PageContents {
  readonly description: string;
  private readonly stream: PageStream;
  private readonly fd: number;

  /** `fd` is open for reading; it stays the caller's. All volumes read the same file. */
  constructor(stream: PageStream, fd: number, name: string) {
    this.description = `read from ${name}`;
    this.stream = stream;
    this.fd = fd;
  }

  fill(page: number, dst: Buffer): void {
    const { numberOfPage, pageBytes } = this.stream;
    const from = numberOfPage[page]! * pageBytes;
    let done = 0;
    while (done < dst.length) {
      const count = this.read(dst, done, from + done);
      if (count === 0) break;
      done += count;
    }
    dst.fill(0, done);
  }

  private read(dst: Buffer, at: number, position: number): number {
    try {
      return readSync(this.fd, dst, at, dst.length - at, position);
    } catch (cause) {
      throw new TmemError('io', `the contents at ${position} cannot be ${this.description}`, {
        cause,
      });
    }
  }
}

/** A page whose first part is noise, and whose rest is one word. */
function pageOf(noise: Buffer, ratio: number): Buffer {
  const page = Buffer.alloc(noise.length, 'tmem');
  if (ratio > 0) noise.copy(page, 0, 0, Math.round(noise.length * ratio));
  return page;
}

function noiseOf(bytes: number, seed: number): Buffer {
  const words = new Int32Array(bytes / 4);
  let x = (Math.imul(seed, 0x9e3779b1) ^ 0x2545f491) | 1;
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    words[i] = x;
  }
  return Buffer.from(words.buffer);
}
