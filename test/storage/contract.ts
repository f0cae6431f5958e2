/** The contract of a storage as a suite: every kind of storage passes it. */

import { afterEach, describe, expect, it } from 'vitest';
import { alignedBuffer } from '../../src/lib/aligned-buffer.ts';
import { TmemError } from '../../src/lib/errors.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { fc } from '../tools/seed.ts';

const SIZE_BYTES = 5 * 4096 + 512;

/** A storage that holds `content`; `release` removes whatever it left behind. */
export interface OpenedStorage {
  storage: Storage;
  release(): void | Promise<void>;
}

/** Runs the suite on what `open` makes; a kind may be one that is never for reading only. */
export function describeStorageContract(
  subject: string,
  open: (content: Buffer, isReadOnly: boolean) => Promise<OpenedStorage>,
  kind: { readonly hasReadOnly: boolean } = { hasReadOnly: true },
): void {
  describe(`${subject}, as a storage`, () => {
    let opened: OpenedStorage | undefined;

    async function openWith(content: Buffer, isReadOnly = false): Promise<Storage> {
      opened = await open(Buffer.from(content), isReadOnly);
      return opened.storage;
    }

    afterEach(async () => {
      await opened?.storage.close();
      await opened?.release();
      opened = undefined;
    });

    it('keeps every write where it was made, aligned or not', async () => {
      const model = pattern(SIZE_BYTES);
      const storage = await openWith(model);
      const memory = alignedBuffer(SIZE_BYTES + 2 * 4096);
      const edge = fc.constantFrom(0, 1, 511, 512, 4095, 4096, 4097, 8192, 16384, SIZE_BYTES - 1);
      const step = fc.record({
        kind: fc.constantFrom('read', 'write', 'zeroes', 'zeroes-discarding'),
        offset: fc.oneof(edge, fc.nat(SIZE_BYTES - 1)),
        length: fc.oneof(edge, fc.nat(SIZE_BYTES)),
        bufferOffset: fc.constantFrom(0, 1, 512, 4096),
        fill: fc.integer({ min: 1, max: 255 }),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
          for (const { kind, offset, length: wanted, bufferOffset, fill } of steps) {
            const length = Math.min(wanted, SIZE_BYTES - offset);
            if (kind === 'write') {
              memory.fill(fill, bufferOffset, bufferOffset + length);
              await storage.write(memory, bufferOffset, length, offset);
              model.fill(fill, offset, offset + length);
            } else if (kind !== 'read') {
              await storage.writeZeroes(offset, length, kind === 'zeroes-discarding');
              model.fill(0, offset, offset + length);
            }
            memory.fill(0xee);
            await storage.read(memory, bufferOffset, length, offset);
            const read = memory.subarray(bufferOffset, bufferOffset + length);
            expect(read.equals(model.subarray(offset, offset + length))).toBe(true);
            // A read touches nothing around its place in the buffer.
            if (bufferOffset > 0) expect(memory[bufferOffset - 1]).toBe(0xee);
            expect(memory[bufferOffset + length]).toBe(0xee);
          }
        }),
        { numRuns: 40 },
      );
      const whole = Buffer.alloc(SIZE_BYTES);
      await storage.read(whole, 0, SIZE_BYTES, 0);
      expect(whole.equals(model)).toBe(true);
    });

    it('leaves the bytes around a discarded range alone', async () => {
      const model = pattern(SIZE_BYTES);
      const storage = await openWith(model);
      await storage.discard(4000, 9000);
      const whole = Buffer.alloc(SIZE_BYTES);
      await storage.read(whole, 0, SIZE_BYTES, 0);
      expect(whole.subarray(0, 4000).equals(model.subarray(0, 4000))).toBe(true);
      expect(whole.subarray(13_000).equals(model.subarray(13_000))).toBe(true);
    });

    it('covers its whole size with extents, of which holes read as zeros', async () => {
      const storage = await openWith(pattern(SIZE_BYTES));
      await storage.writeZeroes(4096, 8192, true);
      const memory = Buffer.alloc(SIZE_BYTES, 1);
      let offset = 0;
      while (offset < SIZE_BYTES) {
        const { length, isHole } = await storage.extent(offset, SIZE_BYTES - offset);
        expect(length).toBeGreaterThan(0);
        await storage.read(memory, 0, length, offset);
        if (isHole) expect(memory.subarray(0, length).every((byte) => byte === 0)).toBe(true);
        offset += length;
      }
      expect(offset).toBe(SIZE_BYTES);
    });

    it('serves many requests at once', async () => {
      const model = pattern(SIZE_BYTES);
      const storage = await openWith(model);
      const buffers = Array.from({ length: 200 }, () => Buffer.alloc(100));
      await Promise.all(buffers.map((buffer, index) => storage.read(buffer, 0, 100, index * 100)));
      expect(Buffer.concat(buffers).equals(model.subarray(0, 20_000))).toBe(true);
    });

    if (kind.hasReadOnly) {
      it('takes no change when it is read-only', async () => {
        const model = pattern(SIZE_BYTES);
        const storage = await openWith(model, true);
        expect(storage.isReadOnly).toBe(true);
        const refused = { kind: 'read-only' };
        await expect(storage.write(Buffer.alloc(1), 0, 1, 0)).rejects.toMatchObject(refused);
        await expect(storage.writeZeroes(0, 512, true)).rejects.toMatchObject(refused);
        await expect(storage.discard(0, 512)).rejects.toMatchObject(refused);
        await storage.sync();
        const whole = Buffer.alloc(SIZE_BYTES);
        await storage.read(whole, 0, SIZE_BYTES, 0);
        expect(whole.equals(model)).toBe(true);
      });
    }

    it('finishes the requests under way before it closes, and takes none after', async () => {
      const storage = await openWith(pattern(SIZE_BYTES));
      const order: string[] = [];
      const write = storage.write(Buffer.alloc(512, 7), 0, 512, 0).then(() => order.push('write'));
      const sync = storage.sync().then(() => order.push('sync'));
      // A long one may end with the piece that it is at, and says so.
      const zero = storage.writeZeroes(512, 4096, true).then(
        () => order.push('zero'),
        (cause: unknown) => order.push(String(cause instanceof TmemError && cause.kind)),
      );
      const discard = storage.discard(4608, 4096).then(() => order.push('discard'));
      const extent = storage.extent(0, SIZE_BYTES).then(() => order.push('extent'));
      await storage.close().then(() => order.push('close'));
      await Promise.all([write, sync, zero, discard, extent]);
      expect(order.at(-1)).toBe('close');
      expect(order.filter((each) => each !== 'zero' && each !== 'shutdown').length).toBe(5);
      const closed = { kind: 'shutdown' };
      await expect(storage.read(Buffer.alloc(1), 0, 1, 0)).rejects.toMatchObject(closed);
      await expect(storage.write(Buffer.alloc(1), 0, 1, 0)).rejects.toMatchObject(closed);
      await expect(storage.sync()).rejects.toMatchObject(closed);
      await expect(storage.writeZeroes(0, 512, true)).rejects.toMatchObject(closed);
      await expect(storage.extent(0, 1)).rejects.toMatchObject(closed);
      if (storage.supports.discard) {
        await expect(storage.discard(0, 512)).rejects.toMatchObject(closed);
      }
      await storage.close();
    });

    it('refuses a buffer that is too small', async () => {
      const storage = await openWith(pattern(SIZE_BYTES));
      await expect(storage.read(Buffer.alloc(9), 0, 10, 0)).rejects.toThrow(RangeError);
      await expect(storage.write(Buffer.alloc(9), 1, 9, 0)).rejects.toThrow(RangeError);
    });
  });
}

/** Bytes without a zero, that differ from one sector to the next. */
export function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index++) bytes[index] = 1 + ((index + (index >> 9)) % 255);
  return bytes;
}
