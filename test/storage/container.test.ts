import fs from 'node:fs';
import { describe, expect, it, vi } from 'vitest';
import { alignedBuffer } from '../../src/lib/aligned-buffer.ts';
import { openFileStorage } from '../../src/storage/file.ts';
import { type Libc, loadLibc } from '../../src/storage/libc.ts';
import type { ResizableStorage } from '../../src/storage/storage.ts';
import { THREAD_IO } from '../../src/storage/thread-io.ts';
import type { PositionedCall } from '../../src/storage/transfer.ts';
import { withFileSizeLimit } from '../tools/file-size-limit.ts';
import { needsPrograms } from '../tools/programs.ts';
import { fc } from '../tools/seed.ts';
import { describeStorageContract } from './contract.ts';
import { MemoryStorage } from './memory-storage.ts';
import { temporaryDirectory, temporaryFile } from './temporary-files.ts';

const LIMIT_BYTES = 64 * 1024;
const MIB = 1024 * 1024;

const AHEAD = { isReadOnly: false, isContainer: true, growsAhead: true };

type Open = (content: Buffer) => Promise<ResizableStorage>;

const kinds: Record<string, Open> = {
  memory: async (content) => new MemoryStorage(content, { isContainer: true }),
  file: (content) =>
    openFileStorage(temporaryFile(content), { isReadOnly: false, isContainer: true }),
  'file that grows ahead': (content) => openFileStorage(temporaryFile(content), AHEAD),
  'file without system calls': (content) =>
    openFileStorage(temporaryFile(content), { isReadOnly: false, isContainer: true, libc: null }),
};

for (const [kind, open] of Object.entries(kinds)) {
  describeStorageContract(
    `a container in a ${kind}`,
    async (content) => ({ storage: await open(content), release: () => {} }),
    { hasReadOnly: false },
  );
}

describe.each(Object.entries(kinds))('a container in a %s', (_kind, open) => {
  it('ends where it was written to or cut, with zeros where nothing was written', async () => {
    const step = fc.record({
      kind: fc.constantFrom('write', 'zeroes', 'resize', 'discard'),
      offset: fc.oneof(fc.nat(LIMIT_BYTES), fc.constantFrom(0, 4096, 8192)),
      length: fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.constantFrom(4096, 8192)),
      mayDiscard: fc.boolean(),
    });
    const memory = alignedBuffer(LIMIT_BYTES).fill(7);
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        const storage = await open(Buffer.alloc(100, 1));
        let model = Buffer.alloc(100, 1);
        const grow = (size: number) => {
          if (size > model.length)
            model = Buffer.concat([model, Buffer.alloc(size - model.length)]);
        };
        for (const { kind, offset, length, mayDiscard } of steps) {
          if (kind === 'write') {
            await storage.write(memory, 0, length, offset);
            grow(offset + length);
            model.fill(7, offset, offset + length);
          } else if (kind === 'zeroes') {
            await storage.writeZeroes(offset, length, mayDiscard);
            grow(offset + length);
            model.fill(0, offset, offset + length);
          } else if (kind === 'resize') {
            await storage.resize(offset);
            grow(offset);
            model = model.subarray(0, offset);
          } else {
            await storage.discard(model.length, length); // behind the end: nothing to do
          }
          expect(storage.sizeBytes).toBe(model.length);
          const read = Buffer.alloc(model.length);
          if (model.length > 0) await storage.read(read, 0, model.length, 0);
          expect(read.equals(model)).toBe(true);
          expect(await storage.extent(model.length, 10)).toEqual({ length: 10, isHole: true });
        }
        await storage.close();
      }),
      { numRuns: 25 },
    );
  });

  it('keeps its end when shorter and longer writes end at once', async () => {
    const storage = await open(Buffer.alloc(0));
    await Promise.all([
      storage.write(Buffer.alloc(100, 1), 0, 100, 50_000),
      storage.writeZeroes(0, 20_000, true),
      storage.write(Buffer.alloc(100, 2), 0, 100, 30_000),
    ]);
    expect(storage.sizeBytes).toBe(50_100);
    const read = Buffer.alloc(100);
    await storage.read(read, 0, 100, 50_000);
    expect(read.equals(Buffer.alloc(100, 1))).toBe(true);
    await storage.close();
  });

  it('that is being lengthened is closed when that has ended, and keeps its end then', async () => {
    const storage = await open(Buffer.alloc(512));
    const order: string[] = [];
    const resized = storage.resize(1024).then(() => order.push('resized'));
    await storage.close().then(() => order.push('closed'));
    await resized;
    expect(order).toEqual(['resized', 'closed']);
    await expect(storage.resize(512)).rejects.toMatchObject({ kind: 'shutdown' });
    expect(storage.sizeBytes).toBe(1024);
  });
});

const failing: PositionedCall = (_fd, _buffer, _at, _length, _position, callback) =>
  callback(Object.assign(new Error('injected'), { code: 'EIO' }), 0);

describe('a container file', () => {
  needsPrograms('prlimit');

  it('ends where a write behind its end failed halfway', async () => {
    const path = temporaryFile(Buffer.alloc(4096, 1));
    const storage = await openFileStorage(path, { isReadOnly: false, isContainer: true });
    await withFileSizeLimit(100_000, async () => {
      const write = storage.write(Buffer.alloc(200_000, 2), 0, 200_000, 8192);
      await expect(write).rejects.toMatchObject({ context: { code: 'EFBIG' } });
    });
    expect([storage.sizeBytes, fs.statSync(path).size]).toEqual([100_000, 100_000]);
    expect(await storage.extent(8192, 4096)).toEqual({ length: 4096, isHole: false });
    await storage.close();
  });

  it('that grows ahead ends farther on while it is open, and takes few blocks for that', async () => {
    const path = temporaryFile(Buffer.alloc(4096, 1));
    const storage = await openFileStorage(path, AHEAD);
    expect(fs.statSync(path).size).toBe(4096);
    const writes = [8192, 4096, 90_000_000 - (90_000_000 % 4096)].map((offset) =>
      storage.write(alignedBuffer(4096).fill(2), 0, 4096, offset),
    );
    await Promise.all(writes);
    expect(storage.sizeBytes).toBe(90_000_000 - (90_000_000 % 4096) + 4096);
    const { size, blocks } = fs.statSync(path);
    expect(size).toBeGreaterThan(storage.sizeBytes);
    expect(size).toBeLessThan(storage.sizeBytes * 1.25 + 2 * 4 * MIB);
    expect(blocks * 512).toBeLessThan(size * 0.5);
    await storage.close();
    expect(fs.statSync(path).size).toBe(storage.sizeBytes);
    expect(fs.readFileSync(path).subarray(4096, 12_288).equals(Buffer.alloc(8192, 2))).toBe(true);
  });

  it('that grows ahead has blocks where it will be written, for a quarter of its length', async () => {
    const path = temporaryFile(Buffer.alloc(4096, 1));
    const storage = await openFileStorage(path, AHEAD);
    await storage.write(alignedBuffer(4096).fill(2), 0, 4096, 4096);
    expect(fs.statSync(path)).toMatchObject({ size: 8 * MIB, blocks: (8 * MIB) / 512 });
    await storage.close();
    expect(fs.statSync(path)).toMatchObject({ size: 8192, blocks: 16 });
  });

  it('that grows ahead from an odd end is as long as it says', async () => {
    const storage = await openFileStorage(temporaryFile(Buffer.alloc(4096, 1)), AHEAD);
    await storage.write(Buffer.alloc(1, 2), 0, 1, 90_000_001);
    const end = Math.ceil((90_000_002 * 1.25) / (4 * MIB)) * 4 * MIB;
    await storage.writeZeroes(end - 65_536, 65_536, true);
    const read = Buffer.alloc(65_536, 1);
    await storage.read(read, 0, 65_536, end - 65_536);
    expect(read.equals(Buffer.alloc(65_536))).toBe(true);
    await storage.close();
  });

  it('that grows ahead leaves the blocks of a disk to others when there are not plenty', async () => {
    const path = temporaryFile(Buffer.alloc(4096, 1));
    const storage = await openFileStorage(path, AHEAD);
    const bavail = (15 * 8 * MIB) / 4096;
    const free = { ...(await fs.promises.statfs(path)), bsize: 4096, bavail };
    const statfs = vi.spyOn(fs.promises, 'statfs').mockResolvedValue(free);
    await storage.write(alignedBuffer(4096).fill(2), 0, 4096, 4096);
    expect(fs.statSync(path)).toMatchObject({ size: 8 * MIB, blocks: 16 });
    expect(statfs).toHaveBeenCalledOnce();
    statfs.mockRestore();
    await storage.close();
  });

  it('that grows ahead on a full disk gives back what blocks it got, and ends ahead in a hole', async () => {
    const path = temporaryFile(Buffer.alloc(4096, 1));
    const libc = await loadLibc();
    if (libc === undefined) throw new Error('koffi is not installed');
    const fallocate: Libc['fallocate'] = async (fd, mode, offset, length) => {
      await libc.fallocate(fd, mode, offset, length / 2);
      throw Object.assign(new Error('injected'), { code: 'ENOSPC' });
    };
    const storage = await openFileStorage(path, { ...AHEAD, libc: { ...libc, fallocate } });
    await storage.write(alignedBuffer(4096).fill(2), 0, 4096, 4096);
    expect(fs.statSync(path)).toMatchObject({ size: 8 * MIB, blocks: 16 });
    await storage.close();
    expect(
      fs.readFileSync(path).equals(Buffer.concat([Buffer.alloc(4096, 1), Buffer.alloc(4096, 2)])),
    ).toBe(true);
  });

  it('that was cut or lengthened is not cut elsewhere when it is closed', async () => {
    for (const sizeBytes of [4096, 200_000_000]) {
      const path = temporaryFile(Buffer.alloc(4096, 1));
      const storage = await openFileStorage(path, AHEAD);
      await storage.writeZeroes(8192, 4096, false);
      await storage.resize(sizeBytes);
      expect(fs.statSync(path).size).toBe(sizeBytes);
      await storage.close();
      expect(fs.statSync(path).size).toBe(sizeBytes);
    }
  });

  it('that can not grow ahead grows with what is written', async () => {
    const path = temporaryFile(Buffer.alloc(4096, 1));
    const storage = await openFileStorage(path, AHEAD);
    await withFileSizeLimit(100_000, async () => {
      await storage.write(Buffer.alloc(4096, 2), 0, 4096, 8192);
      expect(fs.statSync(path).size).toBe(12_288);
      await storage.writeZeroes(20_480, 4096, true);
      const write = storage.write(Buffer.alloc(200_000, 2), 0, 200_000, 8192);
      await expect(write).rejects.toMatchObject({ context: { code: 'EFBIG' } });
    });
    expect([storage.sizeBytes, fs.statSync(path).size]).toEqual([100_000, 100_000]);
    await storage.write(Buffer.alloc(4096, 3), 0, 4096, 98_304);
    await storage.close();
    expect(fs.statSync(path).size).toBe(102_400);
  });

  it('that grows ahead ends where a write that failed may have ended', async () => {
    const path = temporaryFile(Buffer.alloc(4096, 1));
    const io = { ...THREAD_IO, write: failing };
    const storage = await openFileStorage(path, { ...AHEAD, io });
    const write = storage.write(alignedBuffer(8192), 0, 8192, 8192);
    await expect(write).rejects.toMatchObject({ context: { code: 'EIO' } });
    expect(storage.sizeBytes).toBe(16_384);
    await storage.close();
    expect(fs.statSync(path).size).toBe(16_384);
  });

  it('is made where there is none, and never over another', async () => {
    const path = `${temporaryDirectory()}/new.qcow2`;
    const options = { isReadOnly: false, isContainer: true, isNew: true };
    const storage = await openFileStorage(path, options);
    await storage.write(Buffer.from('abc'), 0, 3, 0);
    await storage.close();
    const failure = await openFileStorage(path, options).catch((cause: unknown) => cause);
    expect(failure).toMatchObject({
      message: `cannot open "${path}": there is a file already; remove it or take another name`,
    });
    expect(fs.readFileSync(path, 'utf8')).toBe('abc');
  });

  it('opened for reading takes no other size', async () => {
    const path = temporaryFile(Buffer.alloc(3));
    const storage = await openFileStorage(path, { isReadOnly: true, isContainer: true });
    expect(storage.sizeBytes).toBe(3);
    await expect(storage.resize(10)).rejects.toMatchObject({ kind: 'read-only' });
    await storage.close();
  });
});
