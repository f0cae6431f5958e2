import fs from 'node:fs';
import { expect, it } from 'vitest';
import { bindCLibrary } from '../../src/lib/c-library.ts';
import { openFileStorage } from '../../src/storage/file.ts';
import { pattern } from './contract.ts';
import { temporaryFile } from './temporary-files.ts';

const PAGES = 64;
const PROT_READ = 1;
const MAP_SHARED = 1;

/** How many of a file's first pages the page cache holds, by mmap(2) and mincore(2). */
const cachedPages = await bindCLibrary((library) => {
  const types = ['void *', 'size_t', 'int', 'int', 'int', 'int64_t'];
  const mmap = library.func('mmap', 'void *', types);
  const mincore = library.func('mincore', 'int', ['void *', 'size_t', 'void *']);
  const munmap = library.func('munmap', 'int', ['void *', 'size_t']);
  return (file: string) => {
    const fd = fs.openSync(file, 'r');
    const mapping = mmap(null, PAGES * 4096, PROT_READ, MAP_SHARED, fd, 0);
    const isCached = Buffer.alloc(PAGES);
    expect(mincore(mapping, PAGES * 4096, isCached)).toBe(0);
    munmap(mapping, PAGES * 4096);
    fs.closeSync(fd);
    return isCached.filter((state) => (state & 1) !== 0).length;
  };
});

/** A file whose pages are cached, and on the disk. */
function cachedFile(): string {
  const file = temporaryFile(pattern(PAGES * 4096));
  const fd = fs.openSync(file, 'r+');
  fs.fsyncSync(fd);
  fs.closeSync(fd);
  return file;
}

it.skipIf(cachedPages === undefined).each([
  ['leaves the page cache when it is opened for writing around it', false, undefined],
  ['stays in the page cache when it is opened for reading', true, undefined],
  ['stays in the page cache when it is written through it', false, false],
] as const)('a cached file %s', async (_, isReadOnly, wantsDirect) => {
  const file = cachedFile();
  expect(cachedPages?.(file)).toBe(PAGES);
  const storage = await openFileStorage(file, { isReadOnly, wantsDirect });
  const isDropped = storage.alignmentBytes > 1 && !isReadOnly;
  expect(cachedPages?.(file)).toBe(isDropped ? 0 : PAGES);
  await storage.close();
});
