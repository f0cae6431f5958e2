import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { makeImage, workspace } from '../../tools/workspace.ts';
import {
  contentByQemu,
  contentOf,
  create,
  expectClean,
  expectSame,
  KIB,
  MIB,
  openAt,
  rawAt,
} from './images.ts';

/** Resizes a copy of random content and holds it against that. */
async function resizeAndCompare(image: string, directory: string, sizes: readonly number[]) {
  let model = await contentByQemu(image, directory);
  for (const size of sizes) {
    const disk = await openAt(image);
    await disk.resize(size);
    expect(disk.virtualSizeBytes).toBe(size);
    const longer = Buffer.alloc(size);
    model.copy(longer);
    model = longer;
    expectSame(await contentOf(disk), model, `content of ${size} bytes`);
    await disk.write(Buffer.alloc(512, 7), 0, 512, size - 512);
    model.fill(7, size - 512);
    await disk.close();
    await expectClean(image);
    expectSame(await contentByQemu(image, directory), model, `content of ${size} for qemu-img`);
  }
}

describe('a qcow2 image that gets another size', () => {
  needsPrograms('qemu-img');

  it.each([
    ['with a larger L1 table', { cluster_size: 512 }, [9 * MIB, 40 * MIB]],
    ['with the same L1 table', { cluster_size: 65_536 }, [9 * MIB, 9 * MIB + 512]],
    ['smaller, and larger again', { cluster_size: 4096 }, [2 * MIB + 1536, 3 * MIB, MIB, 8 * MIB]],
    ['of version 2', { cluster_size: 4096, compat: '0.10' }, [2 * MIB + 512, 8 * MIB]],
    ['with extended entries', { extended_l2: 'on' }, [2 * MIB + 70 * KIB, 8 * MIB]],
  ])('%s holds what it had, and zeros', async (_name, options, sizes) => {
    const directory = workspace();
    const raw = makeImage(directory, 4 * MIB);
    const image = `${directory}/disk.qcow2`;
    const pairs = Object.entries(options).map(([name, value]) => `${name}=${value}`);
    const convert = ['convert', '-f', 'raw', '-O', 'qcow2', '-o', pairs.join(',')];
    await runWell('qemu-img', [...convert, raw, image]);
    await resizeAndCompare(image, directory, sizes);
  });

  it('shows nothing of a backing file that is longer', async () => {
    const directory = workspace();
    const raw = makeImage(directory, 8 * MIB);
    const image = await create(`${directory}/disk.qcow2`, 2 * MIB + 512, {}, [
      ...['-b', raw, '-F', 'raw'],
    ]);
    const disk = await openAt(image, { backing: () => rawAt(raw) });
    await disk.resize(6 * MIB);
    const expected = Buffer.alloc(6 * MIB);
    readFileSync(raw).copy(expected, 0, 0, 2 * MIB + 512);
    expectSame(await contentOf(disk), expected);
    await disk.close();
    await expectClean(image);
    expectSame(await contentByQemu(image, directory), expected, 'content by qemu-img');
  });

  it('is refused a size that no table describes', async () => {
    const directory = workspace();
    const disk = await openAt(await create(`${directory}/disk.qcow2`, MIB, { cluster_size: 512 }));
    await expect(disk.resize(2 ** 40)).rejects.toMatchObject({ kind: 'unsupported' });
    expect(disk.virtualSizeBytes).toBe(MIB);
    await disk.close();
  });
});
