import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { rawImage } from '../../../src/image/raw.ts';
import { openFileStorage } from '../../../src/storage/file.ts';
import { FaultyStorage } from '../../storage/faulty-storage.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { needsPrograms } from '../../tools/programs.ts';
import { makeImage, workspace } from '../../tools/workspace.ts';
import { contentOf, create, expectClean, expectSame, KIB, MIB, openAt, openOn } from './images.ts';

needsPrograms('qemu-img');

it('copying up extended entries keeps what is written to a part of a cluster', async () => {
  const directory = workspace();
  const raw = makeImage(directory, MIB);
  const content = readFileSync(raw);
  const below = new FaultyStorage(new MemoryStorage(Buffer.from(content), { isReadOnly: true }));
  const options = { extended_l2: 'on', cluster_size: 128 * KIB };
  const file = await create(`${directory}/disk.qcow2`, MIB, options, ['-b', raw, '-F', 'raw']);
  const image = await openAt(file, { backing: () => rawImage(below, 'base') });
  const write = (byte: number) => {
    content.fill(byte, 8192, 8192 + 4096);
    return image.write(content, 8192, 4096, 8192);
  };
  const looking = below.holdNext('extent');
  const copy = image.copyUp(0, 128 * KIB);
  await looking.arrived;
  await write(0x22);
  const reading = below.holdNext('read');
  looking.release();
  await reading.arrived;
  await write(0x33);
  reading.release();
  expect(await copy).toBeGreaterThan(0);
  expect(await image.ownerOf(0, 128 * KIB)).toMatchObject({ depth: 0, length: 128 * KIB });
  expectSame(await contentOf(image), content);
  await image.close();
});

it('a storage that fails every discard takes writes, and the image stays sound', async () => {
  const file = await create(`${workspace()}/disk.qcow2`, 4 * MIB);
  const faulty = await openFileStorage(file, { isReadOnly: false, isContainer: true });
  faulty.discard = () => Promise.reject(new Error('no space for the map of the file'));
  const image = await openOn(faulty);
  const cluster = Buffer.alloc(64 * KIB, 1);
  await image.write(cluster, 0, cluster.length, 0);
  await image.sync();
  await image.discard(0, cluster.length);
  await image.sync();
  await image.write(cluster, 0, cluster.length, MIB);
  await image.close();
  await expectClean(file);
  // One that is marked corrupt opens for reading only.
  await (await openAt(file)).close();
});
