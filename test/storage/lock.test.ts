import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openFileStorage } from '../../src/storage/file.ts';
import { type Libc, loadLibc } from '../../src/storage/libc.ts';
import { needsPrograms } from '../tools/programs.ts';
import {
  FLOCK_PROGRAM,
  holder,
  QEMU_PROGRAM,
  qemuHolder,
  RANGE_PROGRAM,
  wholeFileHolder,
} from './lock-holder.ts';
import { temporaryFile } from './temporary-files.ts';

const libc = await loadLibc();

const open = (file: string, isReadOnly: boolean) => openFileStorage(file, { isReadOnly });
const openImage = (file: string, isReadOnly: boolean) =>
  openFileStorage(file, { isReadOnly, isContainer: true });

describe.skipIf(libc === undefined)('the lock on an image (needs koffi)', () => {
  needsPrograms(FLOCK_PROGRAM);

  it.each([
    ['--exclusive', true, /has it open for writing; stop that process first$/],
    ['--exclusive', false, /has it open for writing; stop that process first$/],
    ['--shared', false, /has it open for reading; stop that process first, or open it read-only$/],
  ] as const)('%s of another process keeps us out (read-only: %s)', async (...row) => {
    const [kind, isReadOnly, sentence] = row;
    const file = temporaryFile(4096);
    const { pid, stop } = await holder(file, kind);
    const failure = await open(file, isReadOnly).catch((cause) => cause);
    expect(failure).toMatchObject({ kind: 'busy', context: { path: file, pid } });
    expect(failure.message).toMatch(sentence);
    expect(failure.message).toContain(`cannot lock "${file}": process ${pid} (s`);
    await stop();
    const storage = await open(file, isReadOnly);
    expect(storage.isLocked).toBe(true);
    await storage.close();
  });

  it('is shared among readers of many processes', async () => {
    const file = temporaryFile(4096);
    await holder(file, '--shared');
    const [first, second] = [await open(file, true), await open(file, true)];
    expect([first.isLocked, second.isLocked]).toEqual([true, true]);
    await first.close();
    await second.close();
  });

  it('keeps other processes out until the image is closed', async () => {
    const file = temporaryFile(4096);
    const storage = await open(file, false);
    const isTaken = () =>
      new Promise((resolve) => {
        spawn(FLOCK_PROGRAM, ['--nonblock', file, 'true']).once('close', (code) =>
          resolve(code !== 0),
        );
      });
    expect(await isTaken()).toBe(true);
    await storage.close();
    expect(await isTaken()).toBe(false);
  });

  it('leaves it to this process what it opens twice, and says that it does not hold', async () => {
    const file = temporaryFile(4096);
    const first = await open(file, false);
    const second = await open(file, false);
    expect([first.isLocked, second.isLocked]).toEqual([true, false]);
    await first.close();
    await second.close();
  });

  it('names the other process, not this one, where both have the image open', async () => {
    const file = temporaryFile(4096);
    const reader = await open(file, true);
    const { pid } = await holder(file, '--shared');
    await expect(open(file, false)).rejects.toMatchObject({ kind: 'busy', context: { pid } });
    await reader.close();
  });

  it('leaves no descriptor open when it is refused', async () => {
    const file = temporaryFile(4096);
    await holder(file, '--exclusive');
    const before = fs.readdirSync('/proc/self/fd').length;
    await open(file, false).catch(() => {});
    expect(fs.readdirSync('/proc/self/fd').length).toBe(before);
  });

  it('that is gone at a second look is taken', async () => {
    const file = temporaryFile(4096);
    let calls = 0;
    const flock: Libc['flock'] = async () => {
      if (++calls === 1) throw Object.assign(new Error('taken'), { code: 'EAGAIN' });
    };
    const options = { isReadOnly: false, libc: { ...(libc as Libc), flock } };
    const storage = await openFileStorage(file, options);
    expect([storage.isLocked, calls]).toEqual([true, 2]);
    await storage.close();
  });

  it('is done without on a file system that has none', async () => {
    const flock: Libc['flock'] = () =>
      Promise.reject(Object.assign(new Error('none'), { code: 'EOPNOTSUPP' }));
    const options = { isReadOnly: false, libc: { ...(libc as Libc), flock } };
    const storage = await openFileStorage(temporaryFile(4096), options);
    expect(storage.isLocked).toBe(false);
    await storage.close();
  });
});

describe.skipIf(libc === undefined)("QEMU's lock on an image (needs koffi)", () => {
  needsPrograms(QEMU_PROGRAM, 'qemu-img', RANGE_PROGRAM);

  /** QEMU lets others write a raw image while it only reads it; one with tables it does not. */
  function qcow2File(): string {
    const file = temporaryFile(0);
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', file, '1M']);
    return file;
  }

  it.each([
    [false, false, /has it open for writing; stop that process first$/],
    [false, true, /has it open for writing; stop that process first$/],
    [true, false, /has it open for reading; stop that process first, or open it read-only$/],
  ])('keeps us out (it only reads: %s, we only read: %s)', async (onlyReads, weRead, sentence) => {
    const file = qcow2File();
    const { pid, stop } = await qemuHolder(file, onlyReads);
    const failure = await openImage(file, weRead).catch((cause) => cause);
    expect(failure).toMatchObject({ kind: 'busy', context: { path: file, pid } });
    expect(failure.message).toMatch(sentence);
    await stop();
    const storage = await openImage(file, weRead);
    expect(storage.isLocked).toBe(true);
    await storage.close();
  });

  it('is shared among readers', async () => {
    const file = qcow2File();
    await qemuHolder(file, true);
    const [first, second] = [await openImage(file, true), await openImage(file, true)];
    expect([first.isLocked, second.isLocked]).toEqual([true, true]);
    await first.close();
    await second.close();
  });

  it.each([
    [true, 'read -q 0 512', 0],
    [true, 'write -q 0 512', 1],
    [false, 'read -q 0 512', 1],
    [false, 'write -q 0 512', 1],
  ])('keeps QEMU out until it is closed (we only read: %s; %s)', async (weRead, command, code) => {
    const file = qcow2File();
    const access = command.startsWith('read') ? ['--read-only'] : [];
    const outcome = () =>
      new Promise((resolve) => {
        const args = [...access, '-f', 'qcow2', '-c', command, file];
        spawn(QEMU_PROGRAM, args, { stdio: 'ignore' }).once('close', resolve);
      });
    const storage = await openImage(file, weRead);
    expect(await outcome()).toBe(code);
    await storage.close();
    expect(await outcome()).toBe(0);
  });

  it('is done without on a file system that has none', async () => {
    const lockByte: Libc['lockByte'] = () =>
      Promise.reject(Object.assign(new Error('none'), { code: 'EINVAL' }));
    const options = { isReadOnly: false, libc: { ...(libc as Libc), lockByte } };
    const storage = await openFileStorage(temporaryFile(4096), options);
    expect(storage.isLocked).toBe(true);
    await storage.close();
  });

  it('is not what a network file system makes of the flock of another reader', async () => {
    const file = qcow2File();
    await wholeFileHolder(file, 'LOCK_SH');
    const storage = await openImage(file, true);
    expect(storage.isLocked).toBe(true);
    await storage.close();
  });

  it('is refused where another has all of the file for himself', async () => {
    const file = qcow2File();
    const { stop } = await wholeFileHolder(file, 'LOCK_EX');
    await expect(openImage(file, false)).rejects.toMatchObject({ kind: 'busy' });
    await stop();
    await (await openImage(file, false)).close();
  });
});
