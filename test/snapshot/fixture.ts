/** Stacks with pages of every encoding over image files, to be saved and loaded. */

import fs from 'node:fs';
import path from 'node:path';
import { turnOfTheLoop } from '../../src/lib/turn-of-the-loop.ts';
import { SnapshotLoader } from '../../src/snapshot/loader.ts';
import { type SaveOptions, type SnapshotImage, saveSnapshot } from '../../src/snapshot/save.ts';
import type { Turns } from '../../src/snapshot/slices.ts';
import { stampFile } from '../../src/storage/file-stamp.ts';
import { Cleancache } from '../../src/tmem/cleancache.ts';
import { MISS } from '../../src/tmem/layer.ts';
import { Tmem } from '../../src/tmem/tmem.ts';
import { COMPOSITIONS } from '../layers/compositions.ts';
import { temporaryDirectory } from '../storage/temporary-files.ts';
import { PAGE_KINDS, pageOf } from '../tmem/page-content.ts';

export const PAGE = 4096;
export const IMAGE_PAGES = 100_000;

/** Where the snapshot and the images of a test are. */
export interface Place {
  readonly directory: string;
  readonly snapshotPath: string;
}

export function placeIn(directory: string): Place {
  return { directory, snapshotPath: path.join(directory, 'cache.snapshot') };
}

/** A new place with an image in it, `disk.raw`, that goes away after the test. */
export function makePlace(): Place {
  const place = placeIn(temporaryDirectory());
  makeImage(place, 'disk.raw');
  return place;
}

/** Makes an image file that takes no room. */
export function makeImage(place: Place, name: string): string {
  const file = path.join(place.directory, name);
  fs.writeFileSync(file, '');
  fs.truncateSync(file, IMAGE_PAGES * PAGE);
  return file;
}

/** A stack, and the images of that name in `place` as they are served on it. */
export interface Served {
  readonly tmem: Tmem;
  readonly images: readonly SnapshotImage[];
}

export async function serve(
  place: Place,
  names: readonly string[] = ['disk.raw'],
  limitBytes = 2 ** 24,
  composition = 'hot over zcache',
): Promise<Served> {
  const make = COMPOSITIONS[composition];
  if (make === undefined) throw new Error(`no composition ${composition}`);
  const tmem = new Tmem(make({ limitBytes, pageBytesMax: PAGE }).layers);
  const images: SnapshotImage[] = [];
  for (const name of names) {
    const file = path.join(place.directory, name);
    const medium = (await stampFile(file))?.medium ?? 'device';
    images.push({ name, path: file, medium, cache: new Cleancache(tmem, PAGE) });
  }
  return { tmem, images };
}

/** What page `page` holds, in every image. */
export function contentOf(page: number): Buffer {
  return pageOf(PAGE, PAGE_KINDS[page % PAGE_KINDS.length] ?? 'half', page);
}

export function fill({ images }: Served, pages: Iterable<number>): void {
  const numbers = [...pages];
  for (const { cache } of images) for (const page of numbers) cache.put(page, contentOf(page), 0);
}

/** The pages of the image that are held; throws if one is not what it should be. */
export function pagesHeld({ images }: Served, pages: Iterable<number>, image = 0): number[] {
  const dst = Buffer.alloc(PAGE);
  const held: number[] = [];
  const cache = images[image]?.cache;
  for (const page of pages) {
    if (cache === undefined || cache.get(page, dst, 0) === MISS) continue;
    if (!dst.equals(contentOf(page))) throw new Error(`page ${page} is wrong`);
    held.push(page);
  }
  return held;
}

/** Saves without waiting for the files to settle: in these tests nobody changes them unnoticed. */
export function save(place: Place, served: Served, options: Partial<SaveOptions> = {}) {
  const { images } = served;
  const { snapshotPath } = place;
  return saveSnapshot({
    path: snapshotPath,
    pageBytes: PAGE,
    images,
    isStopped: false,
    stamp: stampFile,
    ...options,
  });
}

/**
 * A clock by which every look at it is a slice's end, and that runs `between` at each of them. Whoever
 * goes on meanwhile is found out.
 */
export function stepping(between: () => void): Turns {
  let nowMs = 0;
  let isOthersTurn = false;
  return {
    now: () => nowMs++,
    next: async () => {
      if (isOthersTurn) throw new Error('nobody waited for the end of the last turn');
      isOthersTurn = true;
      await turnOfTheLoop();
      between();
      isOthersTurn = false;
    },
  };
}

/** A loader that was started, and what it logged. */
export interface Loading {
  readonly loader: SnapshotLoader;
  readonly log: readonly string[];
}

export async function startLoading(
  place: Place,
  { tmem, images }: Served,
  options: { turns?: Turns; bootId?: string; pageBytes?: number } = {},
): Promise<Loading> {
  const log: string[] = [];
  const loader = new SnapshotLoader({
    path: place.snapshotPath,
    pageBytes: PAGE,
    images,
    tmem,
    log: { info: (message) => log.push(message), warn: (message) => log.push(message) },
    ...options,
  });
  await loader.start();
  return { loader, log };
}

/** As `startLoading`, to the end. */
export async function load(
  place: Place,
  served: Served,
  options: Parameters<typeof startLoading>[2] = {},
): Promise<Loading> {
  const loading = await startLoading(place, served, options);
  await loading.loader.finished;
  return loading;
}

/** The numbers from 0 to `count`, exclusive. */
export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
