import { expect, it } from 'vitest';
import { describeStorageContract } from './contract.ts';
import { MemoryStorage } from './memory-storage.ts';

describeStorageContract('memory', async (content, isReadOnly) => ({
  storage: new MemoryStorage(content, { isReadOnly }),
  release: () => {},
}));

it('memory does not serve a range outside itself', async () => {
  const storage = new MemoryStorage(Buffer.alloc(1024));
  await expect(storage.read(Buffer.alloc(512), 0, 512, 1000)).rejects.toThrow(RangeError);
  await expect(storage.write(Buffer.alloc(512), 0, 512, 1000)).rejects.toThrow(RangeError);
  await expect(storage.writeZeroes(1000, 512, true)).rejects.toThrow(RangeError);
});
