import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openImage } from '../../../src/image/open.ts';
import { needsPrograms, runProgram, runWell } from '../../tools/programs.ts';
import { MIB, makeImage, workspace } from '../../tools/workspace.ts';
import { expectSame } from './image-model.ts';
import { contentOf } from './images.ts';

needsPrograms('qemu-img');

const SIZE = 8 * MIB;

it.each(['qed', 'qcow'] as const)(
  'a %s file over a file, made by qemu-img, is written here and read by qemu',
  async (formatName) => {
    const directory = workspace();
    const base = makeImage(directory, SIZE, 'base.raw');
    const made = join(directory, `made.${formatName}`);
    const over = ['-b', 'base.raw', '-F', 'raw'];
    await runWell('qemu-img', ['create', '-q', '-f', formatName, ...over, made]);
    const options = { isReadOnly: false, wantsDirect: true, backingFormatName: 'raw' } as const;
    const image = await openImage(made, options);
    const content = readFileSync(base);
    const work: Promise<void>[] = [];
    for (let at = 100; at + 9000 < SIZE; at += 150_000) {
      content.fill(at % 251, at, at + 9000);
      work.push(image.write(content, at, 9000, at));
    }
    content.fill(0, MIB, 2 * MIB);
    await Promise.all(work);
    await image.writeZeroes(MIB, MIB, true);
    expectSame(await contentOf(image), content);
    await image.close();
    const expected = join(directory, 'expected.raw');
    writeFileSync(expected, content);
    await runWell('qemu-img', ['compare', '-f', formatName, '-F', 'raw', made, expected]);
    if (formatName === 'qed') await runWell('qemu-img', ['check', '-f', 'qed', made]);
    const again = await openImage(made, { ...options, isReadOnly: true });
    expectSame(await contentOf(again), content);
    await again.close();
  },
);

it('an image without a stored format of its backing file is refused until it is said', async () => {
  const directory = workspace();
  makeImage(directory, MIB, 'base.raw');
  const made = join(directory, 'made.qcow');
  await runProgram('qemu-img', ['create', '-f', 'qcow', '-b', 'base.raw', '-F', 'raw', made]);
  await expect(openImage(made, { isReadOnly: true })).rejects.toThrow(/base.raw.*format/);
});
