import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { MIB, workspace } from '../../tools/workspace.ts';
import { expectSame } from '../appended/image-model.ts';
import {
  contentOf,
  createVmdkFile,
  infoOf,
  openVmdkFile,
  qemuCheck,
  qemuContentOf,
  qemuIo,
  REWRITABLE,
  SUBFORMATS,
  sampleBytes,
  writeTo,
} from './vmdk-files.ts';

needsPrograms('qemu-img', 'qemu-io');

describe.each(SUBFORMATS)('%s', (subformat) => {
  it.each([512, 65_536, 3 * MIB + 512, 40 * MIB + 3 * 512])(
    'of %i bytes, written by us, is read and found in order by qemu',
    async (sizeBytes) => {
      const file = path.join(workspace(), 'ours.vmdk');
      await createVmdkFile(file, sizeBytes, { subformat });
      const content = Buffer.alloc(sizeBytes);
      const image = await openVmdkFile(file, false);
      expect(image.virtualSizeBytes).toBe(sizeBytes);
      for (const offset of [0, MIB, 33 * MIB, 40 * MIB].filter((each) => each < sizeBytes)) {
        const bytes = sampleBytes(Math.min(5 * 65_536, sizeBytes - offset));
        await writeTo(image, bytes, offset);
        bytes.copy(content, offset);
      }
      await image.sync();
      await image.close();
      expectSame(await qemuContentOf(file), content);
      expectSame(await contentOf(file), content);
      if (!subformat.endsWith('Flat')) expect(await qemuCheck(file)).toBe(0);
    },
  );

  it('written by qemu is read by us', async () => {
    const folder = workspace();
    const raw = path.join(folder, 'in.raw');
    const file = path.join(folder, 'theirs.vmdk');
    const content = Buffer.alloc(35 * MIB + 1024);
    for (const at of [0, 5 * MIB + 70_000, 34 * MIB]) sampleBytes(900_000).copy(content, at);
    writeFileSync(raw, content);
    const options = ['-O', 'vmdk', '-o', `subformat=${subformat}`];
    await runWell('qemu-img', ['convert', '-f', 'raw', ...options, raw, file]);
    expectSame(await contentOf(file), content);
    expect((await infoOf(file)).details.subformat).toBe(subformat);
  });
});

it.each(REWRITABLE)('%s that qemu made is written by us, then by qemu', async (subformat) => {
  const file = path.join(workspace(), 'both.vmdk');
  await runWell('qemu-img', ['create', '-f', 'vmdk', '-o', `subformat=${subformat}`, file, '70M']);
  await qemuIo(file, 'write -P 1 0 1M', 'write -P 2 33M 100k', 'write -P 3 69M 1M');
  const image = await openVmdkFile(file, false);
  const bytes = Buffer.alloc(3 * MIB + 512, 7);
  await image.write(bytes, 0, bytes.length, 33 * MIB + 1024);
  await image.write(bytes, 0, 512, 512);
  await image.sync();
  await image.close();
  await qemuIo(
    ...([file, 'read -P 1 0 512', 'read -P 7 512 512', 'read -P 1 1k 1023k'] as const),
    ...['read -P 2 33M 1k', `read -P 7 ${33 * MIB + 1024} ${3 * MIB + 512}`, 'read -P 3 69M 1M'],
    ...['read -P 0 40M 29M', 'write -P 9 40M 2M'],
  );
  const content = await contentOf(file);
  expect(content.subarray(40 * MIB, 42 * MIB).every((byte) => byte === 9)).toBe(true);
  expect(content.subarray(33 * MIB, 33 * MIB + 1024).every((byte) => byte === 2)).toBe(true);
});

it.each(['twoGbMaxExtentSparse', 'twoGbMaxExtentFlat'])(
  '%s is written over the 2 GiB seam',
  async (subformat) => {
    const file = path.join(workspace(), 'seam.vmdk');
    await createVmdkFile(file, 5 * 1024 * MIB, { subformat });
    const seam = 2048 * MIB;
    const image = await openVmdkFile(file, false);
    const bytes = Buffer.alloc(MIB, 5);
    await Promise.all([
      image.write(bytes, 0, MIB, seam - 300 * 1024),
      image.write(bytes, 0, MIB, 2 * seam - 512),
    ]);
    await image.sync();
    await image.close();
    await qemuIo(
      ...([file, `read -P 5 ${seam - 300 * 1024} 1M`, `read -P 5 ${2 * seam - 512} 1M`] as const),
      ...[`read -P 0 ${seam - 1024 * 1024} 724k`, `read -P 0 ${2 * seam - 1024} 512`],
    );
  },
);

it('zeroed grains are written and read both ways', async () => {
  const file = path.join(workspace(), 'zeros.vmdk');
  await createVmdkFile(file, 8 * MIB, { zeroed_grain: 'on' });
  await qemuIo(file, 'write -P 1 0 8M', 'write -z 1M 1M');
  const image = await openVmdkFile(file, false);
  expect(await image.extent(MIB, MIB)).toMatchObject({ isZero: true, length: MIB });
  await image.writeZeroes(3 * MIB, MIB, true);
  await image.discard(5 * MIB, MIB);
  await image.sync();
  await image.close();
  await qemuIo(
    ...([file, 'read -P 1 0 1M', 'read -P 0 1M 1M', 'read -P 1 2M 1M', 'read -P 0 3M 1M'] as const),
    ...['read -P 0 5M 1M', 'read -P 1 6M 2M'],
  );
  expect(await qemuCheck(file)).toBe(0);
});
