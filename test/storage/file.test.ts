import fs from 'node:fs';
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { alignedBuffer } from '../../src/lib/aligned-buffer.ts';
import { turnOfTheLoop } from '../../src/lib/turn-of-the-loop.ts';
import { openFileStorage } from '../../src/storage/file.ts';
import type { FileStorageOptions } from '../../src/storage/open-file.ts';
import { THREAD_IO } from '../../src/storage/thread-io.ts';
import { describeStorageContract, pattern } from './contract.ts';
import { temporaryFile } from './temporary-files.ts';

/** The flag's bit as Linux has it on this machine, to look for in /proc. */
const { O_DIRECT } = fs.constants;

function describeFile(
  subject: string,
  options: Omit<FileStorageOptions, 'isReadOnly'>,
  root?: string,
): void {
  describeStorageContract(subject, async (content, isReadOnly) => ({
    storage: await openFileStorage(temporaryFile(content, root), { isReadOnly, ...options }),
    release: () => {},
  }));
}

describeFile('a file opened with O_DIRECT if possible', {});
describeFile('a buffered file', { wantsDirect: false });
describeFile('a file without the system calls that Node lacks', { libc: null, io: THREAD_IO });
describeFile('a buffered file on threads', { wantsDirect: false, io: THREAD_IO });

// tmpfs has other gaps than file systems on disks: it punches holes but zeroes no ranges.
if (fs.existsSync('/dev/shm')) describeFile('a file on tmpfs', {}, '/dev/shm');

describe('a file', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  /** Whether each read goes around the page cache, told by the kernel. */
  function watchReads(): boolean[] {
    const wereDirect: boolean[] = [];
    const read = fs.read;
    vi.spyOn(fs, 'read').mockImplementation(((fd: number, ...rest: unknown[]) => {
      const info = fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'ascii');
      const flags = Number.parseInt(/flags:\s*(\d+)/.exec(info)?.[1] ?? '', 8);
      wereDirect.push((flags & O_DIRECT) !== 0);
      return Reflect.apply(read, fs, [fd, ...rest]);
    }) as typeof fs.read);
    return wereDirect;
  }

  it('sends only wholly aligned requests around the page cache', async () => {
    const storage = await openFileStorage(temporaryFile(pattern(16384)), {
      isReadOnly: true,
      io: THREAD_IO,
    });
    const isDirect = storage.alignmentBytes === 4096;
    const memory = alignedBuffer(16384);
    const wereDirect = watchReads();
    await storage.read(memory, 4096, 8192, 4096);
    await storage.read(memory.subarray(4096), 0, 4096, 0);
    await storage.read(memory, 0, 4096, 512);
    await storage.read(memory, 0, 512, 0);
    await storage.read(memory, 512, 4096, 0);
    await storage.read(Buffer.allocUnsafeSlow(65536), 0, 4096, 0);
    expect(wereDirect).toEqual([isDirect, isDirect, false, false, false, false]);
    await storage.close();
  });

  it('never goes around the page cache when that is not wanted', async () => {
    const path = temporaryFile(pattern(4096));
    const storage = await openFileStorage(path, {
      isReadOnly: true,
      wantsDirect: false,
      io: THREAD_IO,
    });
    expect(storage.alignmentBytes).toBe(1);
    const wereDirect = watchReads();
    await storage.read(alignedBuffer(4096), 0, 4096, 0);
    expect(wereDirect).toEqual([false]);
    await storage.close();
  });

  it('truncated behind our back is an I/O error, never zeros', async () => {
    const path = temporaryFile(pattern(16384));
    const storage = await openFileStorage(path, { isReadOnly: false });
    fs.truncateSync(path, 6144);
    const memory = alignedBuffer(8192);
    const failure = { kind: 'io', message: expect.stringContaining('truncated') };
    await expect(storage.read(memory, 0, 4096, 8192)).rejects.toMatchObject(failure);
    await expect(storage.read(memory, 0, 8192, 0)).rejects.toMatchObject(failure);
    await expect(storage.read(memory, 0, 100, 12000)).rejects.toMatchObject(failure);
    await storage.read(memory, 0, 4096, 0);
    await storage.close();
  });

  it('names what failed, where, and what to do', async () => {
    const path = temporaryFile(pattern(4096));
    const storage = await openFileStorage(path, { isReadOnly: false, io: THREAD_IO });
    failNext('write', 'ENOSPC');
    const write = storage.write(Buffer.alloc(10), 0, 10, 20);
    const message = expect.stringMatching(/^cannot write 10 bytes at offset 20 .*; free some/);
    await expect(write).rejects.toMatchObject({ kind: 'no-space', message });
    failNext('write', 'EROFS');
    const refused = storage.write(Buffer.alloc(10), 0, 10, 20);
    const why = expect.stringMatching(
      /EROFS.*; it takes no writes any more, the log of the system/,
    );
    await expect(refused).rejects.toMatchObject({ kind: 'read-only', message: why });
    failNext('read', 'EIO');
    const read = storage.read(Buffer.alloc(10), 0, 10, 0);
    await expect(read).rejects.toMatchObject({
      kind: 'io',
      context: { code: 'EIO', storage: path },
    });
    await storage.read(Buffer.alloc(10), 0, 10, 0);
    await storage.close();
  });

  it('takes a quota that is used up for want of space, though Node has no name for it', async () => {
    const storage = await openFileStorage(temporaryFile(pattern(4096)), {
      isReadOnly: false,
      io: THREAD_IO,
    });
    const code = getSystemErrorName(-constants.errno.EDQUOT);
    failNext('write', code, `${code}, write`);
    await expect(storage.write(Buffer.alloc(10), 0, 10, 20)).rejects.toMatchObject({
      kind: 'no-space',
      message: expect.stringMatching(/: EDQUOT: disk quota exceeded, write; raise the quota, or/),
      context: { code: 'EDQUOT' },
    });
    await storage.close();
  });

  it('is never stable again after a sync has failed', async () => {
    const storage = await openFileStorage(temporaryFile(pattern(8192)), { isReadOnly: false });
    failNext('fdatasync', 'EIO');
    const failure = { kind: 'io', context: { code: 'EIO', isFinal: true } };
    await expect(storage.sync()).rejects.toMatchObject(failure);
    await expect(storage.sync()).rejects.toMatchObject(failure);
    await storage.close();
  });

  it('is synced once at a time, and then for all who asked meanwhile', async () => {
    const storage = await openFileStorage(temporaryFile(pattern(8192)), { isReadOnly: false });
    const ends: ((error: Error | null) => void)[] = [];
    vi.spyOn(fs, 'fdatasync').mockImplementation((_descriptor, end) => void ends.push(end));
    const outcomes: string[] = [];
    const sync = (name: string) =>
      storage.sync().then(
        () => outcomes.push(`${name} is stable`),
        () => outcomes.push(`${name} failed`),
      );
    const first = sync('a');
    const second = [sync('b')];
    await turnOfTheLoop();
    second.push(sync('c'), sync('d')); // what was written since is not in the one under way
    await turnOfTheLoop();
    expect(ends.length).toBe(1);
    ends[0]!(null);
    await first;
    await turnOfTheLoop();
    const third = sync('e');
    await turnOfTheLoop();
    expect([outcomes, ends.length]).toEqual([['a is stable'], 2]);
    ends[1]!(Object.assign(new Error('injected'), { code: 'EIO' }));
    await Promise.all([...second, third]);
    expect(outcomes.slice(1)).toEqual(['b failed', 'c failed', 'd failed', 'e failed']);
    expect(ends.length).toBe(2);
    await storage.close();
  });

  it('has one identity as long as nobody writes it, and another one afterwards', async () => {
    const path = temporaryFile(pattern(4096));
    const first = await openFileStorage(path, { isReadOnly: true });
    const second = await openFileStorage(path, { isReadOnly: true });
    expect(second.identity).toBe(first.identity);
    fs.utimesSync(path, 1, 1);
    const third = await openFileStorage(path, { isReadOnly: true });
    expect(third.identity).not.toBe(first.identity);
    const other = await openFileStorage(temporaryFile(pattern(4096)), { isReadOnly: true });
    expect(other.identity).not.toBe(third.identity);
    for (const storage of [first, second, third, other]) await storage.close();
  });

  /** Has the system answer an error to the next close(2), which gives the descriptor up all the same. */
  function failNextClose(): void {
    const close = fs.close;
    vi.spyOn(fs, 'close').mockImplementationOnce((fd, callback) => {
      close(fd, () => callback?.(Object.assign(new Error('EIO: injected'), { code: 'EIO' })));
    });
  }

  it.each([
    [false, /^cannot close ".*image\.raw": EIO: injected; check the disk/],
    [true, undefined],
  ])('whose descriptor closes badly has all closed, read-only %s', async (isReadOnly, message) => {
    const path = temporaryFile(pattern(4096));
    const before = fs.readdirSync('/proc/self/fd').length;
    const storage = await openFileStorage(path, { isReadOnly, io: THREAD_IO });
    failNextClose();
    const failure = await storage.close().catch((cause: unknown) => cause);
    if (message === undefined) expect(failure).toBeUndefined();
    else expect(failure).toMatchObject({ kind: 'io', message: expect.stringMatching(message) });
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before);
  });

  /** Makes the next call of that name fail without being made. */
  function failNext(name: 'read' | 'write' | 'fdatasync', code: string, text = 'injected'): void {
    vi.spyOn(fs, name).mockImplementationOnce(((...values: unknown[]) => {
      const callback = values.at(-1) as (error: Error) => void;
      setImmediate(callback, Object.assign(new Error(`${code}: ${text}`), { code }));
    }) as never);
  }
});
