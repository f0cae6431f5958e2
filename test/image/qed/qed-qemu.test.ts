import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { qedDriver } from '../../../src/image/qed/driver.ts';
import { needsPrograms, runProgram, runWell } from '../../tools/programs.ts';
import { MIB, makeImage, workspace } from '../../tools/workspace.ts';
import { expectSame } from '../appended/image-model.ts';
import {
  BASE,
  checkOf,
  containerOf,
  contentOf,
  createOn,
  emptyContainer,
  openOn,
  saveTo,
} from '../appended/images.ts';

needsPrograms('qemu-img', 'qemu-io');

const SIZE = 5 * MIB + 512;

describe('QED and qemu', () => {
  it.each([
    { cluster_size: '4096', table_size: '2' },
    { cluster_size: '65536', table_size: '4' },
    { cluster_size: '1048576', table_size: '16' },
  ])('qemu reads and checks what is written here with %o', async (settings) => {
    const directory = workspace();
    const content = readFileSync(makeImage(directory, SIZE));
    const container = emptyContainer();
    await createOn(qedDriver, container, MIB, settings);
    const image = await openOn(qedDriver, container);
    await image.write(content, 0, 1000, 0);
    await image.resize(SIZE);
    const step = 300_000;
    for (let at = 1000; at < SIZE; at += step) {
      await image.write(content, at, Math.min(step, SIZE - at), at);
    }
    await image.sync();
    // The mark is still set: qemu mends nothing when it only reads.
    const made = await saveTo(join(directory, 'made.qed'), container);
    const raw = join(directory, 'disk.raw');
    await runWell('qemu-img', ['compare', '-f', 'qed', '-F', 'raw', made, raw]);
    await image.close();
    await runWell('qemu-img', ['check', '-f', 'qed', made]);
  });

  it('zero clusters hide the backing file from both', async () => {
    const directory = workspace();
    const base = readFileSync(makeImage(directory, SIZE, 'base.raw'));
    const container = emptyContainer();
    const settings = { cluster_size: '4096', table_size: '2' };
    await createOn(qedDriver, container, SIZE, settings, { backing: BASE });
    const image = await openOn(qedDriver, container, base);
    await image.writeZeroes(3000, 100_000, true);
    await image.write(Buffer.alloc(5000, 3), 0, 5000, 50_000);
    await image.sync();
    const content = Buffer.from(base).fill(0, 3000, 103_000).fill(3, 50_000, 55_000);
    const made = await saveTo(join(directory, 'made.qed'), container);
    await image.close();
    const expected = join(directory, 'expected.raw');
    writeFileSync(expected, content);
    await runWell('qemu-img', ['compare', '-f', 'qed', '-F', 'raw', made, expected]);
    await runWell('qemu-img', ['check', '-f', 'qed', made]);
    await runWell('qemu-io', ['-f', 'qed', '-c', 'write -z 200704 40960', made]);
    content.fill(0, 200_704, 241_664);
    const again = await openOn(qedDriver, containerOf(readFileSync(made)), base);
    expectSame(await contentOf(again), content);
    await again.close();
  });

  it('an image that qemu was killed over is mended before it is written', async () => {
    const directory = workspace();
    const made = join(directory, 'made.qed');
    await runWell('qemu-img', ['create', '-q', '-f', 'qed', made, '64M']);
    const script = ['-c', 'write -P 5 1M 300k', '-c', 'flush', '-c', 'sigraise 9'];
    await runProgram('qemu-io', ['-f', 'qed', ...script, made]);
    const container = containerOf(readFileSync(made));
    expect((await qedDriver.info(container)).isDirty).toBe(true);
    const image = await openOn(qedDriver, container);
    expect((await qedDriver.info(container)).isDirty).toBe(false);
    const read = Buffer.alloc(300 * 1024);
    await image.read(read, 0, read.length, MIB);
    expectSame(read, Buffer.alloc(read.length, 5));
    await image.close();
  });

  it('a table of one cluster is made and read here, which qemu cannot open', async () => {
    const container = emptyContainer();
    await createOn(qedDriver, container, SIZE, { cluster_size: '4096', table_size: '1' });
    const image = await openOn(qedDriver, container);
    await image.write(Buffer.alloc(MIB, 4), 0, MIB, 4 * MIB);
    const content = Buffer.alloc(SIZE).fill(4, 4 * MIB, 5 * MIB);
    expectSame(await contentOf(image), content);
    await image.sync();
    expect(await checkOf(qedDriver, container)).toMatchObject({ corruptions: 0, leaks: 0 });
    const made = await saveTo(join(workspace(), 'made.qed'), container);
    await image.close();
    const { stderr } = await runProgram('qemu-img', ['info', '-f', 'qed', made]);
    expect(stderr).toMatch(/table offset is invalid/);
  });

  it('more clusters than a cluster has bytes are no leaks, though qemu says so', async () => {
    const directory = workspace();
    const container = emptyContainer();
    await createOn(qedDriver, container, 20 * MIB, { cluster_size: '4096', table_size: '2' });
    const image = await openOn(qedDriver, container);
    await image.write(Buffer.alloc(20 * MIB, 1), 0, 20 * MIB, 0);
    await image.sync();
    const report = await checkOf(qedDriver, container);
    expect(report).toMatchObject({ corruptions: 0, leaks: 0, allocatedUnits: 5120 });
    const made = await saveTo(join(directory, 'made.qed'), container);
    await image.close();
    const checked = await runProgram('qemu-img', ['check', '-f', 'qed', '--output=json', made]);
    const clusters = report.imageEndOffset / 4096;
    expect(JSON.parse(checked.stdout)).toMatchObject({ leaks: Math.floor(clusters / 4095) });
  });
});
