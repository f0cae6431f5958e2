/**
 * The bench image: an ext4 file system filled with real programs, libraries and text. A mostly
 * empty image would flatter every server, since zero pages cost nothing.
 */

import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { chooseFiles, INODE_BYTES, sourceFolders } from './image-files.ts';
import {
  loadEncoder,
  PAGE_BYTES,
  type PageCounts,
  PageStatistics,
  ratioOf,
} from './page-statistics.ts';
import type { Processes } from './processes.ts';

/** Raised when the recipe changes, so that older images are made anew. */
const RECIPE = 1;
/** The share of the blocks that files, folders and inodes may take; ext4 needs some of the rest. */
const CONTENT_SHARE = 0.975;
/** Inodes that ext4 takes for itself, and some to spare. */
const EXTRA_INODES = 64;
const READ_BYTES = 4 * 1024 ** 2;

/** What an image must be like for its figures to mean anything. */
const LIMITS = { filledMin: 0.9, zeroShareMax: 0.1, ratioMin: 1.7, ratioMax: 1.9 } as const;

/** A made and measured image. */
export interface BenchImage {
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha1: string;
  /** The share of the file system's blocks that is in use. */
  readonly filled: number;
  readonly zeroShare: number;
  /** LZ4 ratio of 4 KiB pages, zero pages left out. */
  readonly ratio: number;
  readonly counts: PageCounts;
}

/** Where the image is kept, and who runs the tools that make it. */
export interface ImageOptions {
  readonly projectFolder: string;
  readonly workFolder: string;
  readonly sizeBytes: number;
  readonly processes: Processes;
  readonly say: (line: string) => void;
}

/** The image of that size, made now or found as an earlier run left it. */
export async function makeImage(options: ImageOptions): Promise<BenchImage> {
  const { workFolder, sizeBytes, say } = options;
  const path = join(workFolder, `ext4-${sizeBytes / 1024 ** 2}MiB-v${RECIPE}.img`);
  const description = `${path}.json`;
  if (existsSync(path) && existsSync(description)) {
    const known: BenchImage = JSON.parse(readFileSync(description, 'utf8'));
    return { ...known, path };
  }
  mkdirSync(workFolder, { recursive: true });
  say(`making a ${sizeBytes / 1024 ** 2} MiB ext4 image from this machine's files`);
  const unfinished = `${path}.unfinished`;
  await fillFileSystem(options, unfinished);
  const image = await measure(options, unfinished, path);
  renameSync(unfinished, path);
  writeFileSync(description, `${JSON.stringify(image, undefined, 2)}\n`);
  return image;
}

/** The ways in which an image is not what a comparison needs; none for a good one. */
export function imageFaults(image: BenchImage): string[] {
  const faults: string[] = [];
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  if (image.filled < LIMITS.filledMin) faults.push(`it is only ${percent(image.filled)} full`);
  if (image.zeroShare >= LIMITS.zeroShareMax) {
    faults.push(`${percent(image.zeroShare)} of its pages are zero`);
  }
  if (image.ratio < LIMITS.ratioMin || image.ratio > LIMITS.ratioMax) {
    faults.push(`its LZ4 ratio is ${image.ratio.toFixed(2)}`);
  }
  return faults;
}

/** One line that says what the image is like. */
export function describeImage(image: BenchImage): string {
  const { counts } = image;
  const share = (pages: number) => `${((pages / counts.pages) * 100).toFixed(1)} %`;
  return [
    `${image.sizeBytes / 1024 ** 2} MiB ext4, ${(image.filled * 100).toFixed(1)} % full`,
    `LZ4 ratio of 4 KiB pages ${image.ratio.toFixed(2)}`,
    `zero pages ${share(counts.zeroPages)}`,
    `incompressible ${share(counts.incompressiblePages)}`,
  ].join(', ');
}

async function fillFileSystem(options: ImageOptions, target: string): Promise<void> {
  const { workFolder, projectFolder, sizeBytes, processes } = options;
  const stage = join(workFolder, 'stage');
  const remove = () => rmSync(stage, { recursive: true, force: true });
  processes.onLeave(remove);
  remove();
  rmSync(target, { force: true });
  processes.onLeave(() => rmSync(target, { force: true }));
  const blocks = Math.floor((sizeBytes / PAGE_BYTES) * CONTENT_SHARE);
  let inodes = EXTRA_INODES;
  let fileCount = 0;
  for await (const file of chooseFiles(sourceFolders(projectFolder), blocks)) {
    const staged = join(stage, file.path);
    mkdirSync(dirname(staged), { recursive: true });
    writeFileSync(staged, file.bytes);
    inodes += file.inodes;
    fileCount++;
  }
  options.say(`staged ${fileCount} files, writing the file system`);
  // A journal and reserved descriptors would be zero pages, and reserved blocks could not be filled.
  const features = ['-O', '^has_journal,^resize_inode', '-m', '0', '-N', String(inodes)];
  await processes.run('mke2fs', [
    ...['-q', '-F', '-t', 'ext4', '-b', String(PAGE_BYTES), '-I', String(INODE_BYTES)],
    ...features,
    ...['-d', stage, target, `${sizeBytes / 1024}k`],
  ]);
  remove();
}

async function measure(options: ImageOptions, source: string, path: string): Promise<BenchImage> {
  const statistics = new PageStatistics(loadEncoder());
  const hash = createHash('sha1');
  for await (const bytes of readPieces(source)) {
    statistics.add(bytes);
    hash.update(bytes);
  }
  const counts = statistics.counts();
  return {
    path,
    sizeBytes: options.sizeBytes,
    sha1: hash.digest('hex'),
    filled: await filledShare(options.processes, source),
    zeroShare: counts.zeroPages / counts.pages,
    ratio: ratioOf(counts),
    counts,
  };
}

/** Reads a file through the page cache, which also puts it there; the buffer is reused. */
export async function* readPieces(path: string): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  const file = openSync(path, 'r');
  try {
    for (;;) {
      const length = readSync(file, buffer);
      if (length === 0) return;
      yield buffer.subarray(0, length);
      await nextTurn();
    }
  } finally {
    closeSync(file);
  }
}

async function filledShare(processes: Processes, path: string): Promise<number> {
  const { stdout } = await processes.run('dumpe2fs', ['-h', path]);
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)$`, 'm').exec(stdout)?.[1]);
  return 1 - field('Free blocks') / field('Block count');
}
