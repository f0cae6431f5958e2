import fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { FALLOCATE, type Libc, loadLibc, SEEK } from '../../src/storage/libc.ts';
import { temporaryFile } from './temporary-files.ts';

const libc = await loadLibc();

describe.skipIf(libc === undefined)('the C library (needs the optional dependency koffi)', () => {
  const { fallocate, lseek } = libc ?? ({} as Libc);

  it('tells each of many calls at once its own result or error', async () => {
    const fd = fs.openSync(temporaryFile(1 << 20), 'r+');
    const calls = Array.from({ length: 900 }, async (_, index) => {
      if (index % 3 === 0) return lseek(fd, index, SEEK.hole);
      const refused = index % 3 === 1 ? lseek(fd, 1 << 21, SEEK.hole) : fallocate(-1, 0, 0, 1);
      return refused.catch((cause) => cause.code);
    });
    const results = await Promise.all(calls);
    const expected = [0, 'ENXIO', 'EBADF'].map((value, kind) =>
      Array.from({ length: 300 }, (_, index) => (kind === 0 ? index * 3 : value)),
    );
    for (const kind of [0, 1, 2]) {
      expect(results.filter((_, index) => index % 3 === kind)).toEqual(expected[kind]);
    }
    fs.closeSync(fd);
  });

  it('reaches offsets beyond 32 bits', async () => {
    const path = temporaryFile(2 ** 41);
    const fd = fs.openSync(path, 'r+');
    expect(await lseek(fd, 0, SEEK.end)).toBe(2 ** 41);
    fs.writeSync(fd, Buffer.alloc(8192, 1), 0, 8192, 2 ** 40);
    expect(await lseek(fd, 0, SEEK.data)).toBe(2 ** 40);
    await fallocate(fd, FALLOCATE.punchHole, 2 ** 40, 4096);
    expect(await lseek(fd, 0, SEEK.data)).toBe(2 ** 40 + 4096);
    fs.closeSync(fd);
  });
});
