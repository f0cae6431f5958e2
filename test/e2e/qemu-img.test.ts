import path from 'node:path';
import { expect, test } from 'vitest';
import { needsPrograms, runProgram, runWell } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeEmptyImage, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('qemu-img', 'qemu-io');

const SIZE = 16 * MIB;
const COMPARE = ['compare', '-s', '-f', 'raw', '-F', 'raw'];

test('qemu-img compare finds an export identical to its image, and not to another', async () => {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const other = makeImage(directory, SIZE, 'other.raw');
  await runWell('qemu-io', ['-f', 'raw', '-c', 'write -P 7 15M 1', other]);
  const server = await startServer(directory, [image]);
  await runWell('qemu-img', [...COMPARE, server.uri(), image]);
  expect(await runProgram('qemu-img', [...COMPARE, server.uri(), other])).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('Content mismatch'),
  });
});

test('qemu-img convert makes a qcow2 of an export, and an export of the qcow2', async () => {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const back = makeEmptyImage(directory, SIZE, 'back.raw');
  const qcow2 = path.join(directory, 'disk.qcow2');
  const server = await startServer(directory, [image, back, '--memory', '32MiB']);
  await runWell('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', server.uri(), qcow2]);
  const to = ['-n', '-f', 'qcow2', '-O', 'raw', qcow2, server.uri('back.raw')];
  await runWell('qemu-img', ['convert', '-W', '-m', '8', ...to]);
  await runWell('qemu-img', [...COMPARE, server.uri(), server.uri('back.raw')]);
  await server.stop();
  await runWell('qemu-img', [...COMPARE, image, back]);
});

test('qemu-img bench reads and writes with many requests under way', async () => {
  const directory = workspace();
  const server = await startServer(directory, [makeImage(directory, SIZE), '--memory', '32MiB']);
  const load = ['-c', '2000', '-d', '64', '-s', '4096', '-f', 'raw'];
  await runWell('qemu-img', ['bench', ...load, server.uri()]);
  await runWell('qemu-img', ['bench', '-w', '--flush-interval=500', ...load, server.uri()]);
});

test('qemu-img map tells the same of an export as of its image', async () => {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const server = await startServer(directory, [image]);
  const map = async (from: string): Promise<{ start: number; length: number; data: boolean }[]> =>
    JSON.parse(await runWell('qemu-img', ['map', '--output=json', '-f', 'raw', from]));
  const outline = (await map(server.uri())).map(({ start, length, data }) => ({
    start,
    length,
    data,
  }));
  expect(await map(image)).toMatchObject(outline);
  expect(outline.length).toBeGreaterThan(100);
});
