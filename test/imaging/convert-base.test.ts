import fs from 'node:fs';
import path from 'node:path';
import { expect, test, vi } from 'vitest';
import { rawImage } from '../../src/image/raw.ts';
import { openBase } from '../../src/imaging/base-image.ts';
import { convertImage } from '../../src/imaging/convert.ts';
import { FileStorage } from '../../src/storage/file.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

test('a conversion that cannot open what it has made lets go of the base', async () => {
  const directory = workspace();
  makeImage(directory, MIB, 'base.raw');
  const target = path.join(directory, 'new.qcow2');
  const base = await openBase(target, { name: 'base.raw' });
  const source = rawImage(new MemoryStorage(Buffer.alloc(MIB, 7)), 'source');
  const { read } = FileStorage.prototype;
  const spy = vi.spyOn(FileStorage.prototype, 'read').mockImplementation(async function (
    this: FileStorage,
    ...args
  ) {
    if (this.name.startsWith(target)) throw new Error('unreadable');
    await read.apply(this, args);
  });
  const converting = convertImage({ source, path: target, formatName: 'qcow2', base });
  await expect(converting.finally(() => spy.mockRestore())).rejects.toThrow('unreadable');
  await expect(base.image.read(Buffer.alloc(512), 0, 512, 0)).rejects.toThrow(/is closed/);
  expect(fs.readdirSync(directory)).toEqual(['base.raw']);
});
