import { expect, it } from 'vitest';
import { NoOverflow } from '../../src/swap/no-overflow.ts';

const SIZE_BYTES = 1 << 20;

it('reads as zeros, and is one hole', async () => {
  const storage = new NoOverflow('swap0', SIZE_BYTES);
  const bytes = Buffer.alloc(100, 7);
  await storage.read(bytes, 10, 80, 4096);
  const expected = Buffer.alloc(100, 7).fill(0, 10, 90);
  expect(bytes.equals(expected)).toBe(true);
  expect(await storage.extent(512, 9000)).toEqual({ length: 9000, isHole: true });
  await expect(storage.read(bytes, 30, 80, 0)).rejects.toThrow(RangeError);
});

it('refuses every write as no-space, and says of what and what to do', async () => {
  const storage = new NoOverflow('swap0', SIZE_BYTES);
  const failure = await storage.write(Buffer.alloc(512), 0, 512, 1024).catch((cause) => cause);
  expect(failure).toMatchObject({ kind: 'no-space', context: { storage: 'swap0', offset: 1024 } });
  expect(failure.message).toBe(
    'cannot write 512 bytes at offset 1024 of "swap0": its memory is full and it has no overflow ' +
      'file; give it one or more memory, or discard what is not needed',
  );
});

it('takes discards, zeroes and syncs, and nothing once it is closed', async () => {
  const storage = new NoOverflow('swap0', SIZE_BYTES);
  await storage.discard(0, SIZE_BYTES);
  await storage.writeZeroes(0, SIZE_BYTES, false);
  await storage.sync();
  await storage.close();
  await storage.close();
  const closed = { kind: 'shutdown' };
  await expect(storage.sync()).rejects.toMatchObject(closed);
  await expect(storage.read(Buffer.alloc(1), 0, 1, 0)).rejects.toMatchObject(closed);
  await expect(storage.extent(0, 1)).rejects.toMatchObject(closed);
  await expect(storage.discard(0, 1)).rejects.toMatchObject(closed);
});
