import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeEmptyImage, workspace } from '../tools/workspace.ts';

needsPrograms('qemu-img', 'qemu-io');

const WRITE = ['-c', 'write -P 7 0 64k', '-c', 'flush'];

/** Makes an image, and answers its path. */
async function makeImage(directory: string, format: string): Promise<string> {
  if (format === 'raw') return makeEmptyImage(directory, MIB);
  const image = path.join(directory, 'disk.qcow2');
  const data = `data_file=${path.join(directory, 'disk.data')},data_file_raw=on`;
  await runWell('qemu-img', ['create', '-f', 'qcow2', '-o', data, image, '1M']);
  return image;
}

test.each([
  ['raw', 'disk.raw'],
  ['qcow2', 'disk.qcow2'],
  ['qcow2', 'disk.data'],
])('a %s image whose %s is replaced while it is served fails the stop', async (format, name) => {
  const directory = workspace();
  const image = await makeImage(directory, format);
  const file = path.join(directory, name);
  const server = await startServer(directory, ['--format', format, image]);
  fs.writeFileSync(path.join(directory, 'new'), Buffer.alloc(MIB));
  fs.renameSync(path.join(directory, 'new'), file);
  await runWell('qemu-io', ['-f', 'raw', ...WRITE, server.uri()]);
  const sentence = `what was written to export "${path.basename(image)}" is lost: "${file}" was deleted`;
  server.expectAtEnd(new RegExp(`^tmem: ${sentence} or replaced while it was served\n$`), 1);
  await server.stop();
  expect(fs.readFileSync(file).equals(Buffer.alloc(MIB))).toBe(true);
});
