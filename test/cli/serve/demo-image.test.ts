import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { type ContentSource, machineSources } from '../../../src/cli/serve/demo-content.ts';
import { demoImagePath, ensureDemoImage } from '../../../src/cli/serve/demo-image.ts';

const SIZE = 4 * 1024 * 1024;
const EXTENT = SIZE / 256;
let directory = '';
let path = '';

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tmem-demo-'));
  path = join(directory, 'cache', 'tmem', 'demo.raw');
});
afterEach(() => rmSync(directory, { recursive: true }));

/** A source of the files in a directory of the test's own. */
function sourceOf(files: Record<string, Buffer>): ContentSource {
  const root = join(directory, 'source');
  mkdirSync(root, { recursive: true });
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(root, name), bytes);
  return { files: [], directories: [root], accepts: (name) => name.endsWith('.txt') };
}

test('ensureDemoImage makes zeros, incompressible and real content of this machine', async () => {
  const sources = machineSources(process.execPath);
  expect(await ensureDemoImage({ path, sizeBytes: SIZE, sources })).toBe(true);
  const image = readFileSync(path);
  expect(image.length).toBe(SIZE);
  let zero = 0;
  let incompressible = 0;
  for (let offset = 0; offset < SIZE; offset += EXTENT) {
    const extent = image.subarray(offset, offset + EXTENT);
    if (extent.every((byte) => byte === 0)) zero++;
    else if (deflateRawSync(extent, { level: 1 }).length >= EXTENT) incompressible++;
  }
  expect(zero).toBeGreaterThanOrEqual(32);
  expect(incompressible).toBeGreaterThanOrEqual(32);
  expect(zero + incompressible).toBeLessThan(128); // more than half is real, and compresses
  expect(statSync(path).blocks * 512).toBeLessThan(SIZE);
});

test('ensureDemoImage keeps the image that is there', async () => {
  const sources = [sourceOf({ 'a.txt': Buffer.alloc(EXTENT, 'a') })];
  await ensureDemoImage({ path, sizeBytes: SIZE, sources });
  const before = statSync(path).ino;
  expect(await ensureDemoImage({ path, sizeBytes: SIZE, sources })).toBe(false);
  expect(statSync(path).ino).toBe(before);
  expect(readdirSync(join(path, '..'))).toEqual(['demo.raw']);
});

test('ensureDemoImage begins each file at a block and repeats what there is too little of', async () => {
  const source = sourceOf({ 'a.txt': Buffer.from('first'), 'b.txt': Buffer.alloc(EXTENT, 'b') });
  symlinkSync('.', join(directory, 'source', 'circle'));
  writeFileSync(join(directory, 'source', 'c.bin'), 'left out');
  await ensureDemoImage({ path, sizeBytes: SIZE, sources: [source] });
  const image = readFileSync(path);
  expect(image.toString('latin1', 0, 5)).toBe('first');
  expect(image.subarray(5, 4096).every((byte) => byte === 0)).toBe(true);
  expect(image.toString('latin1', 4096, 4098)).toBe('bb');
  expect(image.subarray(0, EXTENT).equals(image.subarray(EXTENT, 2 * EXTENT))).toBe(true);
  expect(image.includes('left out')).toBe(false);
});

test('ensureDemoImage leaves nothing behind when it is told to stop, or finds nothing', async () => {
  const stop = new AbortController();
  const sources = [sourceOf({ 'a.txt': Buffer.alloc(EXTENT, 'a') })];
  const onProgress = (fraction: number) => fraction > 0.5 && stop.abort();
  const options = { path, sizeBytes: SIZE, sources, onProgress, signal: stop.signal };
  await expect(ensureDemoImage(options)).rejects.toMatchObject({ kind: 'shutdown' });
  await expect(ensureDemoImage({ path, sizeBytes: SIZE, sources: [] })).rejects.toMatchObject({
    kind: 'not-found',
  });
  expect(readdirSync(join(path, '..'))).toEqual([]);
});

test.each(['/proc/tmem/cache', '/dev/null', '/dev/null/tmem'])(
  'ensureDemoImage says what to do where it cannot write: %s',
  async (place) => {
    await expect(ensureDemoImage({ path: join(place, 'demo.raw') })).rejects.toThrow(
      /cannot make .*demo.raw \(E\w+\); name an image, or set XDG_CACHE_HOME/,
    );
  },
);

test('demoImagePath follows XDG_CACHE_HOME if it is absolute', () => {
  expect(demoImagePath({ XDG_CACHE_HOME: '/c' })).toBe('/c/tmem/demo.raw');
  expect(demoImagePath({ XDG_CACHE_HOME: 'c' })).toMatch(/\/\.cache\/tmem\/demo\.raw$/);
});

test('demoImagePath is in no folder by chance where HOME is empty', () => {
  vi.stubEnv('HOME', '');
  onTestFinished(() => void vi.unstubAllEnvs());
  expect(isAbsolute(demoImagePath({}))).toBe(true);
});

test('of two first starts at once both have the image that was there first', async () => {
  const sources = [sourceOf({ 'a.txt': Buffer.alloc(EXTENT, 'a') })];
  let inode = 0;
  const onProgress = (fraction: number) => {
    if (fraction !== 0) return;
    // While this one has only begun, another is done.
    writeFileSync(path, 'of the other');
    inode = statSync(path).ino;
  };
  expect(await ensureDemoImage({ path, sizeBytes: SIZE, sources, onProgress })).toBe(false);
  expect(statSync(path).ino).toBe(inode);
  expect(readdirSync(join(path, '..'))).toEqual(['demo.raw']);
});

test('ensureDemoImage removes what a killed attempt left a day ago, and no other file', async () => {
  const sources = [sourceOf({ 'a.txt': Buffer.alloc(EXTENT, 'a') })];
  mkdirSync(join(path, '..'), { recursive: true });
  const old = Date.now() / 1000 - 25 * 60 * 60;
  for (const name of ['demo.raw.0123.part', 'demo.raw.old', 'other.part']) {
    writeFileSync(join(path, '..', name), '');
    utimesSync(join(path, '..', name), old, old);
  }
  writeFileSync(`${path}.4567.part`, 'under way');
  await ensureDemoImage({ path, sizeBytes: SIZE, sources });
  const left = ['demo.raw', 'demo.raw.4567.part', 'demo.raw.old', 'other.part'];
  expect(readdirSync(join(path, '..')).sort()).toEqual(left);
});
