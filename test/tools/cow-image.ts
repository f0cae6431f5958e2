/** Makes copy-on-write images beside a base; qemu-img knows no such format. */

import fs from 'node:fs';
import path from 'node:path';
import { cowDriver } from '../../src/image/cow/driver.ts';
import { openFileStorage } from '../../src/storage/file.ts';

/** A new image at `file`, of the size of the raw `base` in the same directory. Answers its path. */
export async function createImageFile(file: string, base: string): Promise<string> {
  fs.writeFileSync(file, '', { flag: 'wx' });
  const storage = await openFileStorage(file, { isReadOnly: false, isContainer: true });
  const { size, mtimeMs } = fs.statSync(base);
  const stamp = { sizeBytes: size, changedAtMs: Math.floor(mtimeMs) };
  await cowDriver.create?.(storage, {
    sizeBytes: size,
    settings: {},
    backing: { role: 'backing file', name: path.basename(base), formatName: 'raw', stamp },
    createFile: () => Promise.reject(new Error('one file is enough')),
  });
  await storage.close();
  return file;
}
