import { describe, expect, it } from 'vitest';
import { alignedBuffer } from '../../src/lib/aligned-buffer.ts';
import { FileStorage } from '../../src/storage/file.ts';
import { IoPlaces } from '../../src/storage/io-places.ts';
import { openDescriptors } from '../../src/storage/open-file.ts';
import { type PositionedIo, THREAD_IO } from '../../src/storage/thread-io.ts';
import { pattern } from './contract.ts';
import { temporaryFile } from './temporary-files.ts';

const BLOCK_BYTES = 4096;

interface Call {
  readonly verb: 'read' | 'write';
  readonly fd: number;
  readonly length: number;
}

/** Threads that say what is asked of them; a write may be told to end early. */
function watchedIo() {
  const asked: Call[] = [];
  const underWay = new Set<Call>();
  let shortBytes: number | undefined;
  const watched = (verb: 'read' | 'write'): PositionedIo['read'] => {
    return (fd, buffer, bufferOffset, length, position, callback) => {
      const call = { verb, fd, length };
      asked.push(call);
      underWay.add(call);
      const bytes = verb === 'write' ? (shortBytes ?? length) : length;
      shortBytes = undefined;
      THREAD_IO[verb](fd, buffer, bufferOffset, bytes, position, (error, count) => {
        underWay.delete(call);
        callback(error, count);
      });
    };
  };
  const places = new IoPlaces(Number.POSITIVE_INFINITY);
  const io = { name: 'watched', places, read: watched('read'), write: watched('write') };
  const cutNextWrite = (bytes: number) => {
    shortBytes = bytes;
  };
  return { io, asked, underWay, cutNextWrite };
}

async function openWatched(isRegular: boolean) {
  const path = temporaryFile(pattern(16 * BLOCK_BYTES));
  const watched = watchedIo();
  const file = await openDescriptors(path, { isReadOnly: false, io: watched.io });
  return { ...watched, file, storage: new FileStorage({ ...file, isRegular }) };
}

describe('a file', () => {
  it('is read and written in the way that it was opened with', async () => {
    const { storage, asked } = await openWatched(true);
    await storage.write(alignedBuffer(BLOCK_BYTES), 0, BLOCK_BYTES, 0);
    await storage.read(alignedBuffer(BLOCK_BYTES), 0, BLOCK_BYTES, 0);
    await storage.write(Buffer.alloc(10), 0, 10, 5);
    expect(asked.map(({ verb }) => verb)).toEqual(['write', 'read', 'write']);
    await storage.close();
  });

  it('leaves long requests through the page cache to threads', async () => {
    const { storage, asked } = await openWatched(true);
    await storage.read(Buffer.alloc(65_536), 0, 65_536, 0).catch(() => undefined);
    await storage.write(Buffer.alloc(65_537), 0, 65_537, 0);
    expect(asked.map(({ length }) => length)).toEqual([65_536]);
    await storage.close();
  });

  it('that is cut short around the page cache goes on through it, alone', async () => {
    const { storage, file, asked, underWay, cutNextWrite } = await openWatched(true);
    if (file.directFd === undefined) return storage.close();
    const memory = alignedBuffer(4 * BLOCK_BYTES).fill(7);
    cutNextWrite(BLOCK_BYTES);
    const others: Promise<void>[] = [];
    const cut = storage.write(memory, 0, 4 * BLOCK_BYTES, 0);
    for (let i = 4; i < 12; i++)
      others.push(storage.write(memory, 0, BLOCK_BYTES, i * BLOCK_BYTES));
    await Promise.all([cut, ...others]);
    expect(underWay.size).toBe(0);
    expect(asked.filter(({ fd }) => fd === file.directFd)).toHaveLength(9);
    const back = alignedBuffer(4 * BLOCK_BYTES);
    await storage.read(back, 0, back.length, 0);
    expect(back.equals(memory)).toBe(true);
    await storage.sync();
    await storage.close();
  });
});

describe('a block device', () => {
  // The kernel drops stale pages behind a write around its page cache only if that write blocks.
  it('is written around the page cache by threads alone', async () => {
    const { storage, file, asked } = await openWatched(false);
    if (file.directFd === undefined) return storage.close();
    await storage.write(alignedBuffer(BLOCK_BYTES), 0, BLOCK_BYTES, 0);
    expect(asked).toEqual([]);
    await storage.read(alignedBuffer(BLOCK_BYTES), 0, BLOCK_BYTES, 0);
    expect(asked.map(({ verb }) => verb)).toEqual(['read']);
    await storage.close();
  });
});
