/**
 * Chooses the files that fill the bench image from what the machine has: programs and libraries
 * first, text and data beside them, steered so that the whole compresses about as a system disk
 * does.
 */
import { createHash } from 'node:crypto';
import { type Dirent, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  loadEncoder,
  NO_PAGES,
  PAGE_BYTES,
  type PageCounts,
  PageStatistics,
  ratioOf,
  sumOf,
} from './page-statistics.ts';

/** What the image should compress like: within the band any file is taken. */
const RATIO = { target: 1.8, low: 1.76, high: 1.84 } as const;
/** The share of the content that is programs and libraries, as long as there are enough. */
const PROGRAM_SHARE = 0.6;
/** Files fuller of zeros than this would make the image flatter its servers. */
const ZERO_SHARE_MAX = 0.2;
/** Until this share is chosen the running ratio says too little to refuse a file by. */
const STEERING_STARTS_AT = 0.02;
/** What ext4 keeps of each file and folder beside its blocks. */
export const INODE_BYTES = 256;
const FILES_PER_TURN = 64;

/** A file that was chosen, with its bytes, which live only until the next one is asked for. */
export interface ChosenFile {
  readonly path: string;
  readonly bytes: Buffer;
  /** How many inodes it needs: its own, and those of the folders no earlier file was in. */
  readonly inodes: number;
}

/** The folders whose files an image is filled with. */
export function sourceFolders(projectFolder: string): string[] {
  const system = ['bin', 'lib', 'libexec', 'share', 'include', 'local/lib'];
  return [...system.map((name) => join('/usr', name)), join(projectFolder, 'node_modules')];
}

/**
 * Yields files until their content, folders and inodes fill `blocks` 4 KiB blocks.
 *
 * The order is by a hash of the path: the same on each run on a machine, and a mixture.
 */
export async function* chooseFiles(
  folders: readonly string[],
  blocks: number,
): AsyncGenerator<ChosenFile> {
  const chooser = new Chooser(folders, blocks);
  for (let turn = 1; ; turn++) {
    const file = chooser.next();
    if (file === undefined) break;
    yield file;
    // Signals are handled between turns only.
    if (turn % FILES_PER_TURN === 0) await nextTurn();
  }
  if (!chooser.isFull) {
    const found = Math.floor((chooser.usedBlocks * PAGE_BYTES) / 1024 ** 2);
    throw new Error(
      `this machine has only ${found} MiB of programs and text to fill the image with: choose a smaller --image-size`,
    );
  }
}

class Chooser {
  usedBlocks = 0;
  readonly #blocks: number;
  readonly #programs: string[];
  readonly #others: string[];
  /** What would have moved the ratio away from the target, kept for when nothing else is left. */
  readonly #setAside: string[] = [];
  readonly #encode = loadEncoder();
  #total = NO_PAGES;
  readonly #folders = new Set<string>();
  #programPages = 0;

  constructor(folders: readonly string[], blocks: number) {
    this.#blocks = blocks;
    const paths = folders.flatMap((folder) => listFiles(folder));
    this.#programs = shuffle(paths.filter(isProgram), (path) => path);
    // Whole folders of the many small files, or the image would be full of almost empty folders.
    const others = paths.filter((path) => !isProgram(path));
    this.#others = shuffle(others, dirname);
  }

  /** Full means that not even half a per cent of the blocks is left. */
  get isFull(): boolean {
    return this.usedBlocks >= this.#blocks * 0.995;
  }

  next(): ChosenFile | undefined {
    while (!this.isFull) {
      const isLast = this.#programs.length + this.#others.length === 0;
      const path = isLast ? this.#setAside.pop() : this.#nextPath();
      if (path === undefined) return undefined;
      const file = this.#consider(path, isLast);
      if (file !== undefined) return file;
    }
    return undefined;
  }

  #nextPath(): string | undefined {
    const wantsProgram = this.#programPages <= this.#total.pages * PROGRAM_SHARE;
    const [first, second] = wantsProgram
      ? [this.#programs, this.#others]
      : [this.#others, this.#programs];
    return first.pop() ?? second.pop();
  }

  #consider(path: string, takesAnyRatio: boolean): ChosenFile | undefined {
    const bytes = readIfSuitable(path, (this.#blocks * PAGE_BYTES) / 16);
    if (bytes === undefined) return undefined;
    const pages = Math.ceil(bytes.length / PAGE_BYTES);
    const folders = parentFolders(path).filter((folder) => !this.#folders.has(folder));
    const inodes = 1 + folders.length;
    const blocks = pages + folders.length + (inodes * INODE_BYTES) / PAGE_BYTES;
    if (this.usedBlocks + blocks > this.#blocks) return undefined;
    const statistics = new PageStatistics(this.#encode);
    statistics.add(bytes);
    const counts = statistics.counts();
    if (counts.zeroPages > counts.pages * ZERO_SHARE_MAX) return undefined;
    const withFolders = sumOf(counts, folderPages(folders.length));
    if (!takesAnyRatio && !this.#suits(withFolders)) {
      this.#setAside.push(path);
      return undefined;
    }
    this.#total = sumOf(this.#total, withFolders);
    if (isProgram(path)) this.#programPages += pages;
    for (const folder of folders) this.#folders.add(folder);
    this.usedBlocks += blocks;
    return { path, bytes, inodes };
  }

  #suits(file: PageCounts): boolean {
    if (this.#total.pages < this.#blocks * STEERING_STARTS_AT) return true;
    const ratio = ratioOf(sumOf(this.#total, file));
    if (ratio >= RATIO.low && ratio <= RATIO.high) return true;
    return Math.abs(ratio - RATIO.target) < Math.abs(ratioOf(this.#total) - RATIO.target);
  }
}

/** A folder is a page of its own, nearly empty, as far as its effect on the ratio goes. */
function folderPages(count: number): PageCounts {
  return { pages: count, zeroPages: 0, incompressiblePages: 0, storedBytes: count * 256 };
}

function isProgram(path: string): boolean {
  return /\/s?bin\/[^/]+$|\.so(\.[\d.]+)?$|\.node$|\.a$|\.o$/.test(path);
}

/** An order that looks random and is the same each time; paths of one group stay together. */
function shuffle(paths: readonly string[], groupOf: (path: string) => string): string[] {
  const hash = (text: string) => createHash('sha1').update(text).digest('hex');
  const keyed = paths.map((path) => ({ path, key: `${hash(groupOf(path))}${hash(path)}` }));
  keyed.sort((a, b) => (a.key < b.key ? 1 : -1));
  return keyed.map(({ path }) => path);
}

function parentFolders(path: string): string[] {
  const folders: string[] = [];
  for (let at = dirname(path); at !== dirname(at); at = dirname(at)) folders.push(at);
  return folders;
}

/** The bytes of a regular file of a usable size; undefined for what cannot be read. */
function readIfSuitable(path: string, maxBytes: number): Buffer | undefined {
  try {
    const { size } = statSync(path);
    return size > 0 && size <= maxBytes ? readFileSync(path) : undefined;
  } catch {
    return undefined;
  }
}

/** Every regular file below a folder; links are not followed, unreadable folders are left out. */
function listFiles(folder: string): string[] {
  const files: string[] = [];
  const pending = [folder];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    for (const entry of readFolder(at)) {
      const path = join(at, entry.name);
      if (entry.isDirectory()) pending.push(path);
      else if (entry.isFile()) files.push(path);
    }
  }
  return files;
}

function readFolder(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}
