import fs from 'node:fs';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openFileStorage } from '../../src/storage/file.ts';
import { workspace } from '../tools/workspace.ts';

/** A file of a sector, and the storage of it. */
async function openSector() {
  const directory = workspace();
  const place = path.join(directory, 'disk.raw');
  const other = path.join(directory, 'other.raw');
  fs.writeFileSync(place, Buffer.alloc(512));
  const storage = await openFileStorage(place, { isReadOnly: false });
  onTestFinished(() => storage.close());
  return { place, other, storage };
}

test('a file whose path leads to it has its name, whatever is written to it', async () => {
  const { place, other, storage } = await openSector();
  fs.writeFileSync(place, Buffer.alloc(512, 1));
  fs.linkSync(place, other);
  expect(await storage.nameState()).toBe('kept');
});

test('a file that was deleted, or whose path was given to another one, has no name', async () => {
  const { place, other, storage } = await openSector();
  fs.unlinkSync(place);
  expect(await storage.nameState()).toBe('lost');
  fs.writeFileSync(other, Buffer.alloc(512));
  fs.renameSync(other, place);
  expect(await storage.nameState()).toBe('lost');
});

test('a file that was renamed has a name, but not the one that it was opened by', async () => {
  const { place, other, storage } = await openSector();
  fs.renameSync(place, other);
  expect(await storage.nameState()).toBe('moved');
  fs.writeFileSync(place, Buffer.alloc(512));
  expect(await storage.nameState()).toBe('moved');
  fs.renameSync(other, place);
  expect(await storage.nameState()).toBe('kept');
});

test('a file is not asked for its name when it is closed', async () => {
  const { storage } = await openSector();
  await storage.close();
  await expect(storage.nameState()).rejects.toMatchObject({ kind: 'shutdown' });
});
