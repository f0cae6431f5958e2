import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { openRawImage } from '../../src/image/raw.ts';
import { alignedBuffer } from '../../src/lib/aligned-buffer.ts';
import { pattern } from '../storage/contract.ts';
import { temporaryFile } from '../storage/temporary-files.ts';
import { needsPrograms } from '../tools/programs.ts';

const MIB = 1 << 20;

/** Runs qemu-io commands on a raw image; a pattern that does not match is a failure. */
function qemuIo(path: string, ...commands: string[]): void {
  const options = commands.flatMap((command) => ['-c', command]);
  const output = execFileSync('qemu-io', ['-f', 'raw', ...options, path], { encoding: 'utf8' });
  expect(output).not.toContain('failed');
}

describe.each([true, false])('a raw image and QEMU, around the page cache: %s', (wantsDirect) => {
  needsPrograms('qemu-io');

  it('agree on what one writes and the other reads', async () => {
    const path = temporaryFile(4 * MIB);
    qemuIo(path, 'write -P 0x11 0 1M', 'write -P 0x22 1000k 100k', 'write -z 64k 64k');
    const image = await openRawImage(path, { isReadOnly: false, wantsDirect });
    const memory = alignedBuffer(4 * MIB);
    const model = Buffer.alloc(4 * MIB);
    model.fill(0x11, 0, MIB).fill(0x22, 1_024_000, 1_126_400).fill(0, 65536, 131_072);
    await image.read(memory, 0, 4 * MIB, 0);
    expect(memory.equals(model)).toBe(true);

    memory.fill(0x33, 0, MIB);
    await image.write(memory, 0, MIB, 2 * MIB);
    await image.write(memory, 5, 1000, 3 * MIB + 300);
    await image.writeZeroes(2 * MIB + 100, 10_000, false);
    await image.writeZeroes(0, 512 * 1024, true);
    await image.sync();
    await image.close();
    qemuIo(
      path,
      'read -P 0x00 0 512k',
      'read -P 0x33 2M 100',
      'read -P 0x00 2097252 10000',
      'read -P 0x33 2107252 1038476',
      'read -P 0x00 3M 300',
      'read -P 0x33 3146028 1000',
      'read -P 0x00 3147028 1000000',
    );
  });
});

describe('a raw image', () => {
  it('is its file: name, size, identity and capabilities', async () => {
    const path = temporaryFile(pattern(4096 + 512));
    const image = await openRawImage(path, { isReadOnly: true });
    expect(image).toMatchObject({
      name: path,
      formatName: 'raw',
      virtualSizeBytes: 4608,
      isReadOnly: true,
      supports: { discard: false, fastZeroes: false },
    });
    expect(image.identity).toMatch(/^file:\d+:\d+:\d+:4608$/);
    const tail = Buffer.alloc(512);
    await image.read(tail, 0, 512, 4096);
    expect(tail.equals(pattern(4608).subarray(4096))).toBe(true);
    await image.close();
  });

  it('has the same identity through another name of its file', async () => {
    const path = temporaryFile(pattern(4096));
    const first = await openRawImage(path, { isReadOnly: true });
    const second = await openRawImage(path.replace(/\/([^/]*)$/, '/./$1'), { isReadOnly: true });
    expect(second.identity).toBe(first.identity);
    await first.close();
    await second.close();
  });
});
