import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { BlockImage } from '../../../src/image/image.ts';
import { vmdkDriver } from '../../../src/image/vmdk/driver.ts';
import { countingStorage } from '../../tools/counting-storage.ts';
import { workspace } from '../../tools/workspace.ts';
import { createVmdkFile, openVmdkFile } from './vmdk-files.ts';

const GIB = 2 ** 30;

/** The runs of the disk, and the image that they are of, in memory. */
async function runsOf(file: string) {
  const { storage, counts } = countingStorage(readFileSync(file), true);
  const openFile = () => Promise.reject(new Error('the image is one file'));
  const options = { isReadOnly: true, tableBytesMax: 1 << 20, openFile };
  const { format } = await vmdkDriver.open(storage, options);
  const image = new BlockImage({ name: file, identity: file, medium: file, format });
  const before = counts.requests;
  const runs: [status: string, begin: number][] = [];
  for (let at = 0; at < image.virtualSizeBytes; ) {
    const { isHole, length } = await image.extent(at, image.virtualSizeBytes - at);
    const status = isHole ? 'hole' : 'data';
    if (runs.at(-1)?.[0] !== status) runs.push([status, at]);
    at += length;
  }
  await image.close();
  return { runs, requests: counts.requests - before };
}

it('a map of a VMDK reads many grain tables at once, and finds what is in them', async () => {
  const file = path.join(workspace(), 'disk.vmdk');
  await createVmdkFile(file, 8 * GIB);
  const empty = await runsOf(file);
  expect(empty.runs).toEqual([['hole', 0]]);
  // A table is of 32 MiB, in four slices: there are 1024 of those.
  expect(empty.requests).toBeLessThan(100);
  const image = await openVmdkFile(file, false);
  const data = Buffer.alloc(1 << 20, 1);
  const offsets = [0, 1, 3, 5.5, 7].map((gib) => gib * GIB);
  for (const offset of offsets) await image.write(data, 0, data.length, offset);
  await image.sync();
  await image.close();
  const { runs } = await runsOf(file);
  const expected = offsets.flatMap((offset) => [
    ['data', offset],
    ['hole', offset + data.length],
  ]);
  expect(runs).toEqual(expected);
});
