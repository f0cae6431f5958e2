import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it, test } from 'vitest';
import type { Measure } from '../../../src/imaging/measure.ts';
import { needsPrograms, runProgram, runWell } from '../../tools/programs.ts';
import { hasSameContent, makeEmptyImage, makeImage, workspace } from '../../tools/workspace.ts';
import { imageJson, runImage } from './run-image.ts';

needsPrograms('qemu-img', 'qemu-io');

/** An odd number of sectors, clusters and pieces. */
const SIZE_BYTES = 3 * 1024 * 1024 + 11 * 512;

/** Formats that qemu knows, with settings that make them small and odd. */
const FORMATS = ['raw', 'qcow2', 'qed', 'qcow', 'vmdk'] as const;

function sourceIn(directory: string): string {
  const source = makeImage(directory, SIZE_BYTES, 'source.raw');
  // Zeros that are stored, and a single byte in a block of them.
  const fd = fs.openSync(source, 'r+');
  fs.writeSync(fd, Buffer.alloc(100_000), 0, 100_000, 700_000);
  fs.writeSync(fd, Buffer.of(7), 0, 1, 750_001);
  fs.closeSync(fd);
  return source;
}

/** qemu's own verdict on two images. */
async function compare(one: string, format: string, other: string, otherFormat: string) {
  const { code, stdout } = await runProgram('qemu-img', [
    ...['compare', '-f', format, '-F', otherFormat, one, other],
  ]);
  return { code, stdout };
}

const SAME = { code: 0, stdout: 'Images are identical.\n' };

test.each(FORMATS)(
  'convert from raw to %s and from that to all others, as qemu reads them',
  async (format) => {
    const directory = workspace();
    const source = sourceIn(directory);
    const one = path.join(directory, `one.${format}`);
    expect(await runImage(directory, 'convert', source, one)).toMatchObject({ code: 0, err: '' });
    expect(await compare(source, 'raw', one, format)).toEqual(SAME);
    for (const other of FORMATS) {
      const two = path.join(directory, `two.${other}`);
      expect((await runImage(directory, 'convert', one, two)).code).toBe(0);
      expect(await compare(source, 'raw', two, other), other).toEqual(SAME);
      const { code } = await runImage(directory, 'check', two);
      expect(code, other).toBe(other === 'raw' ? 63 : 0);
    }
  },
);

test.each(FORMATS)('convert reads what qemu-img makes as %s', async (format) => {
  const directory = workspace();
  const source = sourceIn(directory);
  const theirs = path.join(directory, `theirs.${format}`);
  await runWell('qemu-img', ['convert', '-f', 'raw', '-O', format, source, theirs]);
  expect((await runImage(directory, 'convert', theirs, 'back.raw')).code).toBe(0);
  expect(hasSameContent(path.join(directory, 'back.raw'), source)).toBe(true);
});

test.each([
  ['qcow2', 'cluster_size=512'],
  ['qcow2', 'cluster_size=2M,compat=0.10'],
  ['qcow2', 'extended_l2=on,cluster_size=128k'],
  ['qcow2', 'preallocation=metadata'],
  ['qed', 'cluster_size=4096,table_size=2'],
  ['qcow', 'cluster_size=512'],
  ['vmdk', 'subformat=monolithicFlat'],
  ['vmdk', 'subformat=twoGbMaxExtentSparse'],
  ['vmdk', 'subformat=twoGbMaxExtentFlat'],
  ['vmdk', 'subformat=streamOptimized'],
])('convert to %s with %s gives what qemu reads the same', async (format, settings) => {
  const directory = workspace();
  const source = sourceIn(directory);
  const target = path.join(directory, `new.${format}`);
  const ran = await runImage(directory, 'convert', '-o', settings, source, target);
  expect(ran).toMatchObject({ code: 0, err: '' });
  expect(await compare(source, 'raw', target, format)).toEqual(SAME);
  expect(fs.readdirSync(directory).filter((name) => name.includes('partial'))).toEqual([]);
});

test.each([
  ['qcow2', []],
  ['qcow2', ['-o', 'compression_type=zstd']],
  ['qcow', []],
])('convert compresses to %s %j, and qemu reads the same', async (format, options) => {
  const directory = workspace();
  const source = sourceIn(directory);
  await runWell('truncate', ['-s', '4M', path.join(directory, 'source.raw')]);
  const target = path.join(directory, `new.${format}`);
  expect((await runImage(directory, 'convert', '-c', ...options, source, target)).code).toBe(0);
  expect(await compare(source, 'raw', target, format)).toEqual(SAME);
  expect((await runImage(directory, 'check', target)).code).toBe(0);
  const plain = path.join(directory, `plain.${format}`);
  expect((await runImage(directory, 'convert', source, plain)).code).toBe(0);
  expect(fs.statSync(target).blocks).toBeLessThan(fs.statSync(plain).blocks * 0.8);
});

test('cow and luks images come back as they were', async () => {
  const directory = workspace();
  const source = sourceIn(directory);
  fs.writeFileSync(path.join(directory, 'key'), 'open sesame\n');
  expect((await runImage(directory, 'convert', source, 'a.cow')).code).toBe(0);
  expect((await runImage(directory, 'convert', 'a.cow', 'a.raw')).code).toBe(0);
  const key = ['--target-passphrase-file', 'key'];
  expect((await runImage(directory, 'convert', ...key, source, 'b.luks')).code).toBe(0);
  expect(
    (await runImage(directory, 'convert', '--passphrase-file', 'key', 'b.luks', 'b.raw')).code,
  ).toBe(0);
  for (const back of ['a.raw', 'b.raw']) {
    expect(hasSameContent(path.join(directory, back), source)).toBe(true);
  }
});

describe('what convert leaves out', () => {
  it('is holes: a sparse terabyte takes no time and no space', async () => {
    const directory = workspace();
    makeEmptyImage(directory, 2 ** 40, 'huge.raw');
    fs.truncateSync(path.join(directory, 'huge.raw'), 2 ** 40);
    const fd = fs.openSync(path.join(directory, 'huge.raw'), 'r+');
    fs.writeSync(fd, 'far away', 2 ** 39 + 12_345);
    fs.closeSync(fd);
    expect((await runImage(directory, 'convert', 'huge.raw', 'huge.qcow2')).code).toBe(0);
    expect((await runImage(directory, 'convert', 'huge.qcow2', 'back.raw')).code).toBe(0);
    expect(fs.statSync(path.join(directory, 'back.raw')).blocks).toBeLessThanOrEqual(16);
    const same = await runImage(directory, 'compare', 'huge.raw', 'back.raw');
    expect(same).toMatchObject({ code: 0, out: 'the images are identical\n' });
  });

  it('is zeros that are stored, in blocks of 4 KiB', async () => {
    const directory = workspace();
    const source = sourceIn(directory);
    expect((await runImage(directory, 'convert', source, 'sparse.raw')).code).toBe(0);
    await runWell('qemu-img', [
      ...['convert', '-f', 'raw', '-O', 'raw', source, path.join(directory, 'theirs.raw')],
    ]);
    const blocks = (name: string) => fs.statSync(path.join(directory, name)).blocks;
    // A file system may need a block of its own to list the extents.
    expect(blocks('sparse.raw')).toBeLessThanOrEqual(blocks('theirs.raw') + 8);
    expect(blocks('sparse.raw')).toBeLessThan(blocks('source.raw') - 150);
  });

  it('is nothing with --sparse=0', async () => {
    const directory = workspace();
    const source = sourceIn(directory);
    expect((await runImage(directory, 'convert', '-S', '0', source, 'full.raw')).code).toBe(0);
    const { blocks } = fs.statSync(path.join(directory, 'full.raw'));
    expect(blocks * 512).toBeGreaterThanOrEqual(SIZE_BYTES);
    expect(hasSameContent(path.join(directory, 'full.raw'), source)).toBe(true);
  });
});

// Of refcount blocks for 2 MiB each, one that is nearly full, and a second that has just begun.
test.each([1_848_832, 3_000_320])(
  'a qcow2 target for %i bytes is as long as was measured',
  async (sizeBytes) => {
    const directory = workspace();
    fs.writeFileSync(path.join(directory, 'full.raw'), Buffer.alloc(sizeBytes, 1));
    const format = ['-O', 'qcow2', '-o', 'cluster_size=2048'];
    const made = await imageJson(directory, 'convert', ...format, 'full.raw', 'full.qcow2');
    const { size } = fs.statSync(path.join(directory, 'full.qcow2'));
    expect(made).toMatchObject({ fileBytes: size, writtenBytes: sizeBytes });
    const measured = await imageJson<Measure>(directory, 'measure', ...format, 'full.raw');
    expect(measured.fullyAllocatedBytes).toBe(measured.requiredBytes);
    // The end of the last cluster is not there.
    expect(measured.requiredBytes).toBeGreaterThanOrEqual(size);
    expect(measured.requiredBytes).toBeLessThan(size + 2048);
    await runWell('qemu-img', ['check', '-q', '-f', 'qcow2', path.join(directory, 'full.qcow2')]);
  },
);

test('convert reads an internal snapshot', async () => {
  const directory = workspace();
  const file = path.join(directory, 'a.qcow2');
  await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', file, '1M']);
  await runWell('qemu-io', ['-f', 'qcow2', '-c', 'write -q -P 1 0 64k', file]);
  await runWell('qemu-img', ['snapshot', '-c', 'before', file]);
  await runWell('qemu-io', ['-f', 'qcow2', '-c', 'write -q -P 2 0 64k', file]);
  expect((await runImage(directory, 'convert', '-l', 'before', file, 'before.raw')).code).toBe(0);
  expect(fs.readFileSync(path.join(directory, 'before.raw'))[100]).toBe(1);
});

test('convert --sync=off writes what --sync=on does, and nothing else is taken', async () => {
  const directory = workspace();
  const source = sourceIn(directory);
  for (const format of ['raw', 'qcow2']) {
    const made = path.join(directory, `made.${format}`);
    const ran = await runImage(directory, 'convert', source, made, '--sync=off');
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(await compare(source, 'raw', made, format)).toEqual(SAME);
  }
  expect(await runImage(directory, 'convert', source, 'new.raw', '--sync=later')).toEqual({
    ...{ code: 2, out: '' },
    err: 'tmem: --sync: "later" is neither on nor off\n',
  });
  expect(fs.existsSync(path.join(directory, 'new.raw'))).toBe(false);
});
