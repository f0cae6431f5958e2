/**
 * Real content for a demonstration image: programs, libraries and texts of the machine it is made
 * on. What is missing is passed over; the program that runs this is always there.
 */

import { constants, type Dirent } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { TmemError } from '../../lib/errors.ts';

/** Where files of one sort are, and which of them are of that sort. */
export interface ContentSource {
  /** Files to begin with, before the directories. */
  readonly files: readonly string[];
  readonly directories: readonly string[];
  accepts(name: string): boolean;
}

/** A walk looks no deeper and at no more files: a demonstration must not search the whole disk. */
const DEPTH_MAX = 6;
const FILES_PER_WALK_MAX = 20_000;
/** No more than this is read of one file, so that an image holds many different ones. */
const FILE_BYTES_MAX = 32 * 1024 * 1024;
/** File systems begin files at a multiple of this. */
const BLOCK_BYTES = 4096;

const TEXT_EXTENSIONS: ReadonlySet<string> = new Set(
  '.txt .md .html .xml .json .js .ts .py .pl .pm .h .c .css .svg .po .rst .conf'.split(' '),
);

/** The sorts of content of this machine; an image takes turns between them. */
export function machineSources(nodePath: string): readonly ContentSource[] {
  const nodeLibrary = join(dirname(nodePath), '../lib');
  return [
    {
      files: [nodePath],
      directories: ['/usr/bin', '/bin'],
      accepts: (name) => !name.includes('.'),
    },
    {
      files: [],
      directories: ['/usr/lib', '/usr/lib64', '/lib', nodeLibrary],
      accepts: (name) => /\.so(\.|$)/.test(name),
    },
    {
      files: [],
      directories: ['/usr/share', '/usr/include', nodeLibrary, join(import.meta.dirname, '..')],
      accepts: (name) => TEXT_EXTENSIONS.has(extname(name)),
    },
  ];
}

/** The paths that `source` stands for, each directory's own files before those further down. */
async function* filesOf(source: ContentSource): AsyncGenerator<string> {
  yield* source.files;
  const queue = source.directories.map((path) => ({ path, depth: 0 }));
  let seen = 0;
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const { path, depth } = next;
    const entries = await readdir(path, { withFileTypes: true }).catch((): Dirent[] => []);
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      if (seen++ > FILES_PER_WALK_MAX) return;
      const child = join(path, entry.name);
      // Links are left alone: they lead in circles, or to what is found elsewhere anyway.
      if (entry.isDirectory() && depth < DEPTH_MAX) queue.push({ path: child, depth: depth + 1 });
      if (entry.isFile() && source.accepts(basename(child))) yield child;
    }
  }
}

/** Opens a file to read; undefined if it cannot be. Never waits for the other end of a pipe. */
function openOrSkip(path: string): Promise<FileHandle | undefined> {
  return open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => undefined);
}

/** A piece of a file; nothing, if it cannot be read. */
async function readOrSkip(
  handle: FileHandle,
  buffer: Buffer,
  start: number,
  position: number,
): Promise<number> {
  const length = Math.min(buffer.length - start, FILE_BYTES_MAX - position);
  if (length <= 0) return 0;
  const read = await handle.read(buffer, start, length, position).catch(() => undefined);
  return read?.bytesRead ?? 0;
}

/**
 * The content of a source as extents of `extentBytes`, a multiple of 4 KiB; each file begins at a
 * block, as on a disk. One buffer is used again for every extent.
 */
async function* extentsOf(source: ContentSource, extentBytes: number): AsyncGenerator<Buffer> {
  const extent = Buffer.alloc(extentBytes);
  let filled = 0;
  for await (const path of filesOf(source)) {
    const handle = await openOrSkip(path);
    if (handle === undefined) continue;
    try {
      for (let position = 0; ; ) {
        const count = await readOrSkip(handle, extent, filled, position);
        if (count === 0) break;
        position += count;
        filled += count;
        if (filled === extentBytes) {
          yield extent;
          filled = 0;
        }
      }
    } finally {
      await handle.close();
    }
    const blockEnd = Math.ceil(filled / BLOCK_BYTES) * BLOCK_BYTES;
    extent.fill(0, filled, blockEnd);
    filled = blockEnd;
    if (filled === extentBytes) {
      yield extent;
      filled = 0;
    }
  }
}

/** Extents of real content, from one source after the other for ever. */
export class ContentReader {
  readonly #sources: readonly ContentSource[];
  readonly #extentBytes: number;
  readonly #running: (AsyncGenerator<Buffer> | undefined)[];
  #turn = 0;

  constructor(sources: readonly ContentSource[], extentBytes: number) {
    this.#sources = sources;
    this.#extentBytes = extentBytes;
    this.#running = sources.map(() => undefined);
  }

  /** The next extent, valid until the next call. Rejects when no source has a whole extent. */
  async next(): Promise<Buffer> {
    for (let attempt = 0; attempt < this.#sources.length; attempt++) {
      const index = this.#turn++ % this.#sources.length;
      const extent = (await this.#nextOf(index)) ?? (await this.#nextOf(index));
      if (extent !== undefined) return extent;
    }
    throw new TmemError('not-found', 'no files were found to make a demonstration image from');
  }

  /** Ends every walk that is under way, and closes its files. */
  async close(): Promise<void> {
    for (const generator of this.#running) await generator?.return(undefined);
  }

  /** The next extent of one source; undefined at its end, after which it begins again. */
  async #nextOf(index: number): Promise<Buffer | undefined> {
    const source = this.#sources[index];
    if (source === undefined) return undefined;
    const generator = this.#running[index] ?? extentsOf(source, this.#extentBytes);
    const { done, value } = await generator.next();
    this.#running[index] = done === true ? undefined : generator;
    return done === true ? undefined : value;
  }
}
