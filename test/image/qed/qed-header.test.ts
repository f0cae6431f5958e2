import { expect, it } from 'vitest';
import { qedDriver } from '../../../src/image/qed/driver.ts';
import { readQedHeader } from '../../../src/image/qed/header.ts';
import { TmemError } from '../../../src/lib/errors.ts';
import { fc } from '../../tools/seed.ts';
import {
  BASE,
  bytesOf,
  containerOf,
  contentOf,
  createOn,
  emptyContainer,
  openOn,
} from '../appended/images.ts';

const SIZE = 1024 * 1024;

async function made(): Promise<Buffer> {
  const container = emptyContainer();
  await createOn(qedDriver, container, SIZE, { cluster_size: '4k' }, { backing: BASE });
  return bytesOf(container);
}

it.each([
  ['magic', 0, 4, 0n, /no QED magic/],
  ['a cluster size of no power of two', 4, 4, 5000n, /offset 4/],
  ['a cluster size of 2 KiB', 4, 4, 2048n, /no power of two from 4096/],
  ['a cluster size of 128 MiB', 4, 4, 2n ** 27n, /offset 4/],
  ['tables of no cluster', 8, 4, 0n, /offset 8/],
  ['tables of 32 clusters', 8, 4, 32n, /offset 8/],
  ['a header of no cluster', 12, 4, 0n, /header of 0 clusters/],
  ['a header of 4 GiB', 12, 4, 2n ** 20n, /offset 12/],
  ['an unknown feature', 16, 8, (2n ** 40n) | 1n, /bits 0x10000000000, which are unknown/],
  ['a first level in the header', 40, 8, 0n, /offset 40/],
  ['a first level behind the file', 40, 8, 2n ** 40n, /offset 40/],
  ['a first level off its cluster', 40, 8, 4097n, /offset 40/],
  ['a first level beyond numbers', 40, 8, 2n ** 60n, /too large/],
  ['a size of half a sector', 48, 8, 700n, /no multiple of 512/],
  ['a size beyond the tables', 48, 8, 2n ** 50n, /of which \d+ fit/],
  ['a size beyond numbers', 48, 8, 2n ** 63n, /too large/],
  ['a name outside the header', 56, 4, 4090n, /backing file name at 4090/],
  ['a name inside the header fields', 56, 4, 0n, /backing file name/],
  ['a name of no byte', 60, 4, 0n, /0 bytes of backing file name/],
  ['a name whose end overflows', 60, 4, 2n ** 32n - 1n, /4294967295 bytes/],
] as const)(
  'a header with %s is refused in one sentence',
  async (_what, at, bytes, value, expected) => {
    const image = await made();
    if (bytes === 4) image.writeUInt32LE(Number(value), at);
    else image.writeBigUInt64LE(value, at);
    const opening = readQedHeader(containerOf(image));
    await expect(opening).rejects.toThrow(expected);
    await expect(opening).rejects.toThrow(/^cannot open "test.img"[^\n.]*(\.img[^\n.]*)*$/);
    await expect(opening).rejects.toBeInstanceOf(TmemError);
  },
);

it('a file cut anywhere in header or first level is refused', async () => {
  const image = await made();
  for (const length of [0, 3, 4, 40, 63, 64, 4096, image.length - 1]) {
    const opening = readQedHeader(containerOf(image.subarray(0, length)));
    await expect(opening, `cut at ${length}`).rejects.toBeInstanceOf(TmemError);
  }
});

it('any bytes in the header give an image or a TmemError, and little is read', async () => {
  const image = await made();
  const poke = fc.record({ at: fc.nat(63), bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(poke, { minLength: 1, maxLength: 3 }), async (pokes) => {
      const bytes = Buffer.from(image);
      for (const { at, bytes: poked } of pokes) bytes.set(poked.subarray(0, 64 - at), at);
      try {
        const opened = await openOn(qedDriver, containerOf(bytes), Buffer.alloc(0));
        if (opened.virtualSizeBytes <= SIZE) await contentOf(opened);
      } catch (cause) {
        expect(cause).toBeInstanceOf(TmemError);
      }
    }),
    { numRuns: 300 },
  );
});

it('unknown autoclear bits are cleared when the image is opened for writing, and only then', async () => {
  const image = await made();
  image.writeBigUInt64LE(6n, 32);
  const readOnly = containerOf(image, true);
  await openOn(qedDriver, readOnly, Buffer.alloc(0));
  expect((await bytesOf(readOnly)).readBigUInt64LE(32)).toBe(6n);
  const writable = containerOf(image);
  await openOn(qedDriver, writable, Buffer.alloc(0));
  expect((await bytesOf(writable)).readBigUInt64LE(32)).toBe(0n);
});

it('info names the backing file, and its format only where the image forbids probing', async () => {
  const storage = containerOf(await made());
  expect((await qedDriver.info(storage)).backing).toEqual(BASE);
  const other = emptyContainer();
  const backing = { ...BASE, formatName: 'qcow2' as const };
  await createOn(qedDriver, other, SIZE, {}, { backing });
  expect((await qedDriver.info(other)).backing).toEqual({ ...BASE, formatName: undefined });
});

it.each([
  [{ cluster_size: '3k' }, /power of two/],
  [{ cluster_size: '128M' }, /power of two/],
  [{ table_size: '32' }, /table_size is 32/],
  [{ lazy: 'on' }, /no setting "lazy"/],
  [{ cluster_size: '4096', table_size: '1' }, /at most/],
])('creating with settings %o is refused', async (settings, expected) => {
  await expect(createOn(qedDriver, emptyContainer(), 2 ** 40, settings)).rejects.toThrow(expected);
});
