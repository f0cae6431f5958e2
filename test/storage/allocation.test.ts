import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openFileStorage } from '../../src/storage/file.ts';
import { FALLOCATE, type Libc, loadLibc } from '../../src/storage/libc.ts';
import { leaveOutWithout } from '../tools/programs.ts';
import { pattern } from './contract.ts';
import { temporaryFile } from './temporary-files.ts';

const MIB = 1 << 20;
const hasLibc = (await loadLibc()) !== undefined;

/** Whether the file system below the temporary directory keeps holes, as the kernel tells. */
const hasHoles = hasLibc && allocatedBytesOfSparseFile() === 0;

function allocatedBytes(path: string): number {
  // Linux counts in units of 512 bytes here, whatever the block size is.
  return fs.statSync(path).blocks * 512;
}

function allocatedBytesOfSparseFile(): number {
  return allocatedBytes(temporaryFile(MIB));
}

/** A libc whose calls fail with what `answer` says, or do nothing. */
function fakeLibc(answer: (mode: number) => string | undefined) {
  const modes: number[] = [];
  const libc: Libc = {
    fallocate: async (_fd, mode) => {
      modes.push(mode);
      const code = answer(mode);
      if (code !== undefined) throw Object.assign(new Error(code), { code });
    },
    lseek: async () => {
      throw Object.assign(new Error('EINVAL'), { code: 'EINVAL' });
    },
    dropCached: async () => {},
    flock: async () => {},
    lockByte: async () => {},
    unlockBytes: async () => {},
    isByteLocked: async () => false,
  };
  return { libc, modes };
}

describe.skipIf(!hasHoles)('a sparse file (needs koffi, and a file system with holes)', () => {
  it('shows its holes as qemu-img sees them', async ({ skip }) => {
    leaveOutWithout(skip, 'qemu-img');
    const path = temporaryFile(8 * MIB);
    const fd = fs.openSync(path, 'r+');
    fs.writeSync(fd, pattern(MIB), 0, MIB, MIB);
    fs.writeSync(fd, pattern(4096), 0, 4096, 5 * MIB);
    fs.closeSync(fd);
    const storage = await openFileStorage(path, { isReadOnly: true });
    const runs: { start: number; length: number; data: boolean }[] = [];
    for (let start = 0; start < 8 * MIB; ) {
      const { length, isHole } = await storage.extent(start, 8 * MIB - start);
      runs.push({ start, length, data: !isHole });
      start += length;
    }
    const map = execFileSync('qemu-img', ['map', '-f', 'raw', '--output=json', path]);
    const expected = JSON.parse(map.toString()) as typeof runs;
    expect(runs).toEqual(expected.map(({ start, length, data }) => ({ start, length, data })));
    expect(runs.length).toBe(5);
    expect(await storage.extent(MIB - 10, 5)).toEqual({ length: 5, isHole: true });
    expect(await storage.extent(MIB + 10, 5)).toEqual({ length: 5, isHole: false });
    await storage.close();
  });

  it('gives discarded bytes back, and keeps zeroed ones unless they may go', async () => {
    const path = temporaryFile(pattern(8 * MIB));
    const storage = await openFileStorage(path, { isReadOnly: false });
    expect(storage.supports).toMatchObject({ discard: true, fastZeroes: true, extents: true });
    const full = allocatedBytes(path);
    await storage.writeZeroes(0, MIB, false);
    expect(allocatedBytes(path)).toBe(full);
    await storage.writeZeroes(MIB, MIB, true);
    await storage.discard(2 * MIB, MIB);
    expect(allocatedBytes(path)).toBe(full - 2 * MIB);
    const model = pattern(8 * MIB).fill(0, 0, 3 * MIB);
    expect(fs.readFileSync(path).equals(model)).toBe(true);
    await storage.close();
  });

  it('truncated behind our back is an I/O error, not a hole', async () => {
    const path = temporaryFile(MIB);
    const storage = await openFileStorage(path, { isReadOnly: true });
    fs.truncateSync(path, 8192);
    expect(await storage.extent(4096, MIB - 4096)).toEqual({ length: 4096, isHole: true });
    await expect(storage.extent(8192, 512)).rejects.toMatchObject({ kind: 'io' });
    await storage.close();
  });
});

describe('a file system without fallocate', () => {
  it.each(['EOPNOTSUPP', 'EPERM', 'EACCES'])(
    '%s: is asked once for each way, and gets zeros written',
    async (code) => {
      const path = temporaryFile(pattern(MIB));
      const { libc, modes } = fakeLibc(() => code);
      const storage = await openFileStorage(path, { isReadOnly: false, libc });
      for (const mayDiscard of [true, false, true]) {
        await storage.writeZeroes(1000, 600_000, mayDiscard);
      }
      await storage.discard(700_000, 4096);
      expect(await storage.extent(0, MIB)).toEqual({ length: MIB, isHole: false });
      const expected = { discard: false, fastZeroes: false, extents: false };
      expect(storage.supports).toMatchObject(expected);
      expect(new Set(modes).size).toBe(modes.length);
      const mustBeFast = storage.writeZeroes(0, 1000, true, true);
      await expect(mustBeFast).rejects.toMatchObject({ kind: 'unsupported' });
      await storage.sync();
      expect(fs.readFileSync(path).equals(pattern(MIB).fill(0, 1000, 601_000))).toBe(true);
      await storage.close();
    },
  );

  it('that punches holes but zeroes no ranges does both by punching and allocating', async () => {
    const isMissing = (mode: number) => (mode === FALLOCATE.zeroRange ? 'EOPNOTSUPP' : undefined);
    const { libc, modes } = fakeLibc(isMissing);
    const storage = await openFileStorage(temporaryFile(4096), { isReadOnly: false, libc });
    await storage.writeZeroes(0, 4096, false);
    expect(modes).toEqual([FALLOCATE.zeroRange, FALLOCATE.punchHole, FALLOCATE.keepSize]);
    expect(storage.supports).toMatchObject({ discard: true, fastZeroes: true });
    await storage.close();
  });

  it('for one range only is asked again for the next', async () => {
    const path = temporaryFile(pattern(4096));
    const { libc, modes } = fakeLibc(() => 'EINVAL');
    const storage = await openFileStorage(path, { isReadOnly: false, libc });
    await storage.writeZeroes(100, 200, true);
    const first = modes.length;
    await storage.writeZeroes(300, 200, true);
    expect(modes.length).toBe(2 * first);
    expect(fs.readFileSync(path).equals(pattern(4096).fill(0, 100, 500))).toBe(true);
    await storage.close();
  });

  it('that is full says so', async () => {
    const { libc } = fakeLibc(() => 'ENOSPC');
    const storage = await openFileStorage(temporaryFile(4096), { isReadOnly: false, libc });
    await expect(storage.writeZeroes(0, 512, false)).rejects.toMatchObject({ kind: 'no-space' });
    await storage.close();
  });
});
