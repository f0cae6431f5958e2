/** The images of the suite `images`, all made by qemu-img, and which of them the page cache holds. */

import { copyFileSync, existsSync, renameSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import type { ImageKind } from './cases.ts';
import { dropFromPageCache, syncFile } from './copies.ts';
import { type BenchImage, readPieces } from './image.ts';
import { ALLOCATED_TIMES } from './image-cases.ts';
import type { Processes } from './processes.ts';

export interface ImageCopyOptions {
  readonly processes: Processes;
  readonly image: BenchImage;
  readonly workFolder: string;
}

/** The benchmark's image as qcow2, plain clusters; made once, never to be changed. */
export async function qcow2Source({ processes, image }: ImageCopyOptions): Promise<string> {
  const path = image.path.replace(/\.img$/, '.qcow2');
  if (existsSync(path)) return path;
  const unfinished = `${path}.unfinished`;
  await processes.run('qemu-img', [
    ...['convert', '-f', 'raw', '-O', 'qcow2', image.path, unfinished],
  ]);
  syncFile(unfinished);
  renameSync(unfinished, path);
  return path;
}

/** An image to begin a measurement with, and what removes it again. */
export async function makeImageCopy(
  options: ImageCopyOptions,
  kind: ImageKind,
): Promise<{ readonly image: BenchImage; remove(): void }> {
  const { processes, image, workFolder } = options;
  if (kind === 'warm' || kind === 'cold') {
    const path = await qcow2Source(options);
    if (kind === 'cold') await dropFromPageCache(processes, path);
    else await readThrough(path);
    return { image: { ...image, path }, remove: () => undefined };
  }
  const path = join(workFolder, 'copy.qcow2');
  const remove = () => rmSync(path, { force: true });
  processes.onLeave(remove);
  remove();
  const sizeBytes = image.sizeBytes * ALLOCATED_TIMES;
  if (kind === 'overlay') {
    const base = await overlayBase(options);
    await readThrough(base);
    await createQcow2(processes, ['-F', 'raw', '-b', base, path]);
  } else {
    await createQcow2(processes, [path, String(sizeBytes)]);
  }
  syncFile(path);
  return { image: { ...image, path, sizeBytes }, remove };
}

/** The benchmark's image several times behind itself, so that an overlay has much to copy. */
async function overlayBase(options: ImageCopyOptions): Promise<string> {
  const { processes, image } = options;
  const path = image.path.replace(/\.img$/, `-${ALLOCATED_TIMES}times.img`);
  if (existsSync(path)) return path;
  const unfinished = `${path}.unfinished`;
  copyFileSync(image.path, unfinished);
  for (let copy = 1; copy < ALLOCATED_TIMES; copy++) {
    const seek = `seek=${image.sizeBytes * copy}`;
    const flags = ['oflag=seek_bytes', 'conv=notrunc', 'bs=1M', 'status=none'];
    await processes.run('dd', [`if=${image.path}`, `of=${unfinished}`, seek, ...flags]);
  }
  truncateSync(unfinished, image.sizeBytes * ALLOCATED_TIMES);
  syncFile(unfinished);
  renameSync(unfinished, path);
  return path;
}

async function createQcow2(processes: Processes, args: readonly string[]): Promise<void> {
  await processes.run('qemu-img', ['create', '-q', '-f', 'qcow2', ...args]);
}

/** Has the page cache hold all of a file. */
export async function readThrough(path: string): Promise<void> {
  for await (const piece of readPieces(path)) {
    if (piece.length === 0) return;
  }
}
