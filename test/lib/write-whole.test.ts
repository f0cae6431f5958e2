import { expect, it } from 'vitest';
import { writeWhole } from '../../src/lib/write-whole.ts';

it('all is written where it belongs, though each write takes a part of it', async () => {
  const written = Buffer.alloc(16, '.');
  const file = {
    write: async (bytes: Uint8Array, start: number, length: number, position: number) => {
      const bytesWritten = Math.min(3, length);
      written.set(bytes.subarray(start, start + bytesWritten), position);
      return { bytesWritten };
    },
  };
  await writeWhole(file, Buffer.from('seven or'), 4);
  expect(written.toString()).toBe('....seven or....');
});

it('a write that fails after a short one says why', async () => {
  let callCount = 0;
  const file = {
    write: async () => {
      if (++callCount === 2) throw new Error('no space');
      return { bytesWritten: 1 };
    },
  };
  await expect(writeWhole(file, Buffer.alloc(2), 0)).rejects.toThrow('no space');
});

it('writes that take nothing come to an end', async () => {
  const file = { write: async () => ({ bytesWritten: 0 }) };
  await expect(writeWhole(file, Buffer.alloc(2), 0)).rejects.toThrow('nothing was written');
});
