import { readFileSync, statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { driverOf } from '../../../src/image/formats.ts';
import { Random } from '../../tools/crash-random.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { makeImage, workspace } from '../../tools/workspace.ts';
import { bytesOf, checkOf, containerOf, FaultyContainer, openOn } from '../appended/images.ts';
import { LoggedContainer } from '../appended/write-log.ts';
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

/** Where the header says where the refcount table is. */
const REFCOUNT_TABLE_FIELD = 48;

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

  it('ends behind what it still holds when it becomes smaller', async () => {
    const directory = workspace();
    const image = await create(`${directory}/disk.qcow2`, 8 * MIB, { cluster_size: 4096 });
    const disk = await openAt(image);
    await disk.write(Buffer.alloc(MIB, 1), 0, MIB, 0);
    await disk.write(Buffer.alloc(4 * MIB, 2), 0, 4 * MIB, 4 * MIB);
    await disk.sync();
    expect(statSync(image).size).toBeGreaterThan(5 * MIB);
    await disk.resize(2 * MIB);
    expect(statSync(image).size).toBeLessThan(MIB + 256 * KIB);
    await disk.resize(8 * MIB);
    await disk.write(Buffer.alloc(MIB, 3), 0, MIB, 5 * MIB);
    await disk.close();
    await expectClean(image);
    const expected = Buffer.concat([Buffer.alloc(MIB, 1), Buffer.alloc(7 * MIB)]);
    expected.fill(3, 5 * MIB, 6 * MIB);
    expectSame(await contentByQemu(image, directory), expected, 'content by qemu-img');
  });

  it('is sound and holds the rest when the power is lost while it becomes smaller', async () => {
    const directory = workspace();
    const image = await create(`${directory}/disk.qcow2`, 2 * MIB, { cluster_size: 4096 });
    const full = await openAt(image);
    await full.write(Buffer.alloc(2 * MIB, 5), 0, 2 * MIB, 0);
    await full.close();
    const log = new LoggedContainer(readFileSync(image), new Random(5));
    const driver = await driverOf('qcow2');
    const disk = await openOn(driver, log);
    await disk.resize(MIB);
    const end = log.tick();
    await disk.close();
    expect(log.mediumAt(end, 0).length).toBeLessThan(MIB + 256 * KIB);
    for (let now = 1; now <= end; now++) {
      for (const lost of [0, 1, 0.5, 'oldest'] as const) {
        const bytes = log.mediumAt(now, lost);
        const left = await openOn(driver, containerOf(bytes, true));
        const when = `at ${now} of ${end}, lost ${lost}`;
        expectSame((await contentOf(left)).subarray(0, MIB), Buffer.alloc(MIB, 5), when);
        expect(await checkOf(driver, containerOf(bytes)), when).toMatchObject({ corruptions: 0 });
      }
    }
  });

  it('holds what is written when it gets it at the second try, whichever write fails first', async () => {
    const directory = workspace();
    const image = await create(`${directory}/disk.qcow2`, MIB, { cluster_size: 512 });
    const driver = await driverOf('qcow2');
    const [size, data] = [3 * MIB, Buffer.alloc(512, 7)];
    for (let failing = 0, hasFailed = true; hasFailed; failing++) {
      const inner = containerOf(readFileSync(image));
      const container = new FaultyContainer(inner);
      const disk = await openOn(driver, container);
      await disk.write(data, 0, 512, MIB - 512);
      let left = failing;
      container.write = (...range) =>
        left-- === 0 ? Promise.reject(new Error('EIO: injected')) : inner.write(...range);
      hasFailed = await disk.resize(size).then(
        () => false,
        () => true,
      );
      left = -1;
      await disk.resize(size);
      await disk.write(data, 0, 512, size - 512);
      await disk.close();
      const again = await openOn(driver, inner);
      const expected = Buffer.alloc(size);
      for (const end of [MIB, size]) data.copy(expected, end - 512);
      expectSame(await contentOf(again), expected, `when write ${failing} failed`);
      await again.close();
      expect(await checkOf(driver, inner), `write ${failing}`).toMatchObject({ corruptions: 0 });
    }
  });

  it('keeps the counts that its header may name, when those of more space are written', async () => {
    const options = { cluster_size: 512, refcount_bits: 64 };
    const image = await create(`${workspace()}/disk.qcow2`, 4 * MIB, options);
    const driver = await driverOf('qcow2');
    const inner = containerOf(readFileSync(image));
    const container = new FaultyContainer(inner);
    const disk = await openOn(driver, container);
    let hasMoved = false;
    container.write = async (...range) => {
      await inner.write(...range);
      if (range[3] !== REFCOUNT_TABLE_FIELD) return;
      hasMoved = true;
      throw new Error('EIO: injected behind the write');
    };
    for (let at = 0; !hasMoved; at += 64 * KIB) {
      await disk.write(Buffer.alloc(64 * KIB, 7), 0, 64 * KIB, at).catch(() => undefined);
    }
    let syncs = 0;
    container.sync = () => (syncs++ === 0 ? Promise.reject(new Error('power cut')) : inner.sync());
    await expect(disk.resize(4096 * MIB)).rejects.toThrow('power cut');
    expect(await checkOf(driver, containerOf(await bytesOf(inner)))).toMatchObject({
      corruptions: 0,
    });
    container.write = (...range) => inner.write(...range);
    await disk.resize(4096 * MIB);
    await disk.close();
    expect(await checkOf(driver, inner)).toMatchObject({ corruptions: 0 });
  });

  it.each([
    ['blocks in the table there is', 16],
    ['a table elsewhere', 64],
  ])('keeps counts that may be in force when it becomes smaller: %s', async (_name, bits) => {
    const options = { cluster_size: 512, refcount_bits: bits };
    const image = await create(`${workspace()}/disk.qcow2`, 4 * MIB, options);
    const driver = await driverOf('qcow2');
    const inner = containerOf(readFileSync(image));
    const tableOffset = Number((await bytesOf(inner)).readBigUInt64BE(REFCOUNT_TABLE_FIELD));
    const switchOffset = bits === 64 ? REFCOUNT_TABLE_FIELD : tableOffset;
    const container = new FaultyContainer(inner);
    const disk = await openOn(driver, container);
    container.write = async (...range) => {
      await inner.write(...range);
      if (range[3] === switchOffset) throw new Error('EIO: injected behind the write');
    };
    let failure: unknown;
    for (let at = 0; failure === undefined; at += 4 * KIB) {
      await disk.write(Buffer.alloc(4 * KIB, 7), 0, 4 * KIB, at);
      failure = await disk.sync().catch((cause: unknown) => cause);
    }
    expect(failure).toMatchObject({ message: 'EIO: injected behind the write' });
    container.write = (...range) => inner.write(...range);
    await disk.resize(3 * MIB);
    await disk.close();
    expect(await checkOf(driver, inner)).toMatchObject({ corruptions: 0 });
  });

  it('is refused a size that no table describes', async () => {
    const directory = workspace();
    const disk = await openAt(await create(`${directory}/disk.qcow2`, MIB, { cluster_size: 512 }));
    await expect(disk.resize(2 ** 40)).rejects.toMatchObject({ kind: 'unsupported' });
    expect(disk.virtualSizeBytes).toBe(MIB);
    await disk.close();
  });
});
