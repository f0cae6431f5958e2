import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { needsPrograms, runProgram, runWell } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { runImage } from './run-image.ts';

needsPrograms('qemu-img', 'qemu-io');

const DONE = { code: 0, err: '' };

/** A raw file of that many bytes, none of them zero. */
function odd(sizeBytes: number) {
  const directory = workspace();
  fs.writeFileSync(path.join(directory, 'odd.raw'), Buffer.alloc(sizeBytes, 'odd content'));
  return { directory, at: (name: string) => path.join(directory, name) };
}

const SIZES = [0, 1, 511, 1000, 65_537, 3_000_001];

test.each(SIZES)('a raw file of %i bytes is read as by qemu-img', async (sizeBytes) => {
  const { directory, at } = odd(sizeBytes);
  for (const format of ['qcow2', 'raw']) {
    const target = at(`new.${format}`);
    expect(await runImage(directory, 'convert', 'odd.raw', target)).toMatchObject(DONE);
    const compare = ['compare', '-f', 'raw', '-F', format, at('odd.raw'), target];
    expect((await runProgram('qemu-img', compare)).stdout).toBe('Images are identical.\n');
    expect(await runImage(directory, 'compare', 'odd.raw', target)).toMatchObject(DONE);
  }
  expect(await runImage(directory, 'map', 'odd.raw')).toMatchObject(DONE);
  expect(fs.statSync(at('odd.raw')).size).toBe(sizeBytes);
});

test.each(SIZES.slice(1))(
  'an image is made and put on a raw file of %i bytes',
  async (sizeBytes) => {
    const { directory, at } = odd(sizeBytes);
    expect(await runImage(directory, 'create', '-b', 'odd.raw', 'top.qcow2')).toMatchObject(DONE);
    const compare = ['compare', '-f', 'raw', '-F', 'qcow2', at('odd.raw'), at('top.qcow2')];
    expect((await runProgram('qemu-img', compare)).stdout).toBe('Images are identical.\n');
    fs.writeFileSync(at('was.raw'), Buffer.alloc(3_000_320, 5));
    await runWell('qemu-img', [
      ...['create', '-q', '-f', 'qcow2', '-b', 'was.raw', '-F', 'raw', at('moved.qcow2')],
    ]);
    const ran = await runImage(directory, 'rebase', '-b', 'odd.raw', 'moved.qcow2');
    expect(ran).toMatchObject(DONE);
    const moved = ['compare', '-f', 'raw', '-F', 'qcow2', at('was.raw'), at('moved.qcow2')];
    expect((await runProgram('qemu-img', moved)).stdout).toBe('Images are identical.\n');
  },
);

test.each(SIZES)('what is written on a raw file of %i bytes goes into it', async (sizeBytes) => {
  const { directory, at } = odd(sizeBytes);
  await runImage(directory, 'create', '-b', 'odd.raw', 'top.qcow2', '4M');
  await runWell('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 64k 3M', at('top.qcow2')]);
  await runWell('qemu-io', ['-f', 'qcow2', '-c', 'write -P 8 512 512', at('top.qcow2')]);
  expect(await runImage(directory, 'commit', 'top.qcow2')).toMatchObject(DONE);
  const compare = ['compare', '-s', '-f', 'raw', '-F', 'raw', at('odd.raw'), at('flat.raw')];
  await runWell('qemu-img', ['convert', '-O', 'raw', at('top.qcow2'), at('flat.raw')]);
  expect((await runProgram('qemu-img', compare)).stdout).toBe('Images are identical.\n');
});

test('of a raw file only what is above it is written, also in its last sector', async () => {
  const { directory, at } = odd(1000);
  await runImage(directory, 'create', '-b', 'odd.raw', 'top.qcow2');
  await runWell('qemu-io', ['-f', 'qcow2', '-c', 'write -P 8 512 512', at('top.qcow2')]);
  expect(await runImage(directory, 'commit', 'top.qcow2')).toMatchObject(DONE);
  const left = Buffer.alloc(1000, 'odd content').subarray(0, 512);
  expect(fs.readFileSync(at('odd.raw'))).toEqual(Buffer.concat([left, Buffer.alloc(512, 8)]));
});

test('an image of an odd size that is taken for raw by its name is still refused', async () => {
  const { directory, at } = odd(1);
  await runImage(directory, 'create', '-f', 'qcow2', 'a.img', '1M');
  fs.appendFileSync(at('a.img'), 'x');
  const ran = await runImage(directory, 'convert', 'a.img', 'b.raw');
  expect(ran).toMatchObject({
    code: 2,
    err: expect.stringContaining('say so with --format qcow2'),
  });
  expect((await runImage(directory, 'resize', 'odd.raw', '1M')).code).toBe(2);
});
