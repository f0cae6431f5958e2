import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { TmemError } from '../../src/lib/errors.ts';
import { openFileStorage } from '../../src/storage/file.ts';
import { loadLibc } from '../../src/storage/libc.ts';
import { pattern } from './contract.ts';
import { temporaryDirectory, temporaryFile } from './temporary-files.ts';

/** The TmemError of opening `file`, checked to be one sentence without a stack or a code's name. */
async function refusal(file: string, isReadOnly = false): Promise<TmemError> {
  const failure = await openFileStorage(file, { isReadOnly }).catch((cause) => cause);
  expect(failure).toBeInstanceOf(TmemError);
  expect(failure.message).toContain(`"${file}"`);
  expect(failure.message).toContain('; ');
  expect(failure.message).not.toContain('\n');
  return failure;
}

function openDescriptorCount(): number {
  return fs.readdirSync('/proc/self/fd').length;
}

describe('opening a file', () => {
  it('that is missing is not-found', async () => {
    const failure = await refusal(path.join(temporaryDirectory(), 'missing.raw'));
    expect(failure.kind).toBe('not-found');
    expect(failure.message).toContain('check the path');
  });

  it('below a file instead of a directory is not-found', async () => {
    expect((await refusal(path.join(temporaryFile(512), 'image.raw'))).kind).toBe('not-found');
  });

  it('that was made for it and cannot be opened leaves no file; one that was there stays', async () => {
    const directory = temporaryDirectory();
    const file = path.join(directory, 'new.raw');
    const wish = { isReadOnly: false, isContainer: true, isNew: true };
    const stat = vi.spyOn(fs.promises, 'stat');
    stat.mockRejectedValueOnce(Object.assign(new Error('EIO: injected'), { code: 'EIO' }));
    await expect(openFileStorage(file, wish)).rejects.toThrow('the system answered EIO');
    stat.mockRestore();
    expect(fs.readdirSync(directory)).toEqual([]);
    fs.writeFileSync(file, 'mine');
    await expect(openFileStorage(file, wish)).rejects.toThrow('there is a file already');
    expect(fs.readFileSync(file, 'latin1')).toBe('mine');
  });

  it('for which no descriptor is left says how to have more', async () => {
    const stat = vi.spyOn(fs.promises, 'stat');
    stat.mockRejectedValueOnce(Object.assign(new Error('EMFILE: injected'), { code: 'EMFILE' }));
    const failure = await refusal(temporaryFile(512));
    stat.mockRestore();
    expect(failure.message).toMatch(/answered EMFILE; let it have more files open .*ulimit -n/);
  });

  it('that is a directory, a pipe or a character device is a usage error', async () => {
    const directory = temporaryDirectory();
    expect((await refusal(directory)).kind).toBe('usage');
    expect((await refusal(directory, true)).message).toContain('a directory');
    const pipe = path.join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    expect((await refusal(pipe)).kind).toBe('usage');
    expect((await refusal('/dev/zero')).kind).toBe('usage');
  });

  it('that is empty is a usage error that says how to give it a size', async () => {
    const failure = await refusal(temporaryFile(0));
    expect(failure.kind).toBe('usage');
    expect(failure.message).toContain('truncate -s 1G');
  });

  it('of an odd size is a usage error whose advice works', async () => {
    const file = temporaryFile(1000);
    const failure = await refusal(file);
    expect(failure.kind).toBe('usage');
    execFileSync('truncate', ['-s', '%512', file]);
    expect(failure.message).toContain(`truncate -s %512 "${file}"`);
    const storage = await openFileStorage(file, { isReadOnly: true });
    expect(storage.sizeBytes).toBe(1024);
    await storage.close();
  });

  it.runIf(fs.existsSync('/dev/shm'))(
    'whose bytes cannot be counted is a usage error',
    async () => {
      const file = temporaryFile(2 ** 53 - 512, '/dev/shm');
      const storage = await openFileStorage(file, { isReadOnly: false });
      await storage.close();
      execFileSync('truncate', ['-s', `${2 ** 53}`, file]);
      const failure = await refusal(file);
      expect(failure.kind).toBe('usage');
      expect(failure.message).toContain('more than 8191TiB');
    },
  );

  it('that this user may not open is a permission error', async () => {
    const file = temporaryFile(512);
    fs.chmodSync(file, 0o000);
    fs.chmodSync(path.dirname(file), 0o755);
    const user = process.geteuid?.();
    // Root may open everything, so the test gives its rights up for the while.
    if (user === 0) process.seteuid?.(65534);
    try {
      const failure = await refusal(file);
      expect(failure.kind).toBe('permission');
      expect(failure.message).toContain('change its mode or owner');
    } finally {
      if (user === 0) process.seteuid?.(0);
    }
  });

  it('leaves no descriptor open when it is refused, nor after it is closed', async () => {
    await loadLibc();
    const before = openDescriptorCount();
    await refusal(temporaryFile(1000));
    await refusal(temporaryFile(0));
    const storage = await openFileStorage(temporaryFile(4096), { isReadOnly: false });
    expect(openDescriptorCount()).toBeGreaterThan(before);
    await storage.close();
    expect(openDescriptorCount()).toBe(before);
  });
});

describe('opening a block device', () => {
  it('finds its size, and reads and writes what a program sees on it', async ({ skip }) => {
    const file = temporaryFile(pattern(1 << 20));
    const device = attachLoopDevice(file);
    if (device === undefined) return skip('needs root, losetup and a free loop device');
    try {
      for (const libc of [undefined, null]) {
        const storage = await openFileStorage(device, { isReadOnly: false, libc });
        expect(storage.sizeBytes).toBe(1 << 20);
        const read = Buffer.alloc(1 << 20);
        await storage.read(read, 0, 1 << 20, 0);
        expect(read.equals(pattern(1 << 20))).toBe(true);
        await storage.write(Buffer.alloc(700, 7), 0, 700, 500);
        await storage.writeZeroes(8192, 8192, false);
        await storage.writeZeroes(100, 200, true);
        await storage.sync();
        await storage.close();
        const model = pattern(1 << 20)
          .fill(7, 500, 1200)
          .fill(0, 8192, 16384)
          .fill(0, 100, 300);
        expect(fs.readFileSync(device).equals(model)).toBe(true);
        fs.writeFileSync(device, pattern(1 << 20));
      }
    } finally {
      execFileSync('losetup', ['--detach', device]);
    }
  });
});

function attachLoopDevice(file: string): string | undefined {
  try {
    return execFileSync('losetup', ['--find', '--show', file], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return undefined;
  }
}
