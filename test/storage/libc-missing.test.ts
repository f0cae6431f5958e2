import { expect, it, vi } from 'vitest';
import { openFileStorage } from '../../src/storage/file.ts';
import { loadLibc } from '../../src/storage/libc.ts';
import { temporaryFile } from './temporary-files.ts';

vi.mock('koffi', () => ({
  default: {
    load: () => {
      throw new Error('no C library here');
    },
  },
}));

it('a file is served without extras where the C library cannot be loaded', async () => {
  expect(await loadLibc()).toBeUndefined();
  const storage = await openFileStorage(temporaryFile(4096), { isReadOnly: false });
  expect(storage.supports).toMatchObject({ discard: false, fastZeroes: false, extents: false });
  expect(storage.isLocked).toBe(false);
  await storage.writeZeroes(0, 512, true);
  await storage.close();
});
