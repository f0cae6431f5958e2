import { setImmediate as turn } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { driverOf } from '../../../src/image/formats.ts';
import { bytesOf, createOn, emptyContainer, FaultyContainer, openOn } from './images.ts';

const SIZE = 1 << 20;

/** What nobody waits for and fails, which ends a process. */
function unhandledOnes(): unknown[] {
  const causes: unknown[] = [];
  const note = (cause: unknown) => causes.push(cause);
  process.on('unhandledRejection', note);
  onTestFinished(() => void process.off('unhandledRejection', note));
  return causes;
}

it.each(['qed', 'qcow'] as const)(
  'a table of a %s image that cannot be read fails the write that needs it, and nothing else',
  async (formatName) => {
    const driver = await driverOf(formatName);
    const file = emptyContainer();
    await createOn(driver, file, SIZE);
    const made = await openOn(driver, file);
    await made.write(Buffer.alloc(SIZE, 1), 0, SIZE, 0);
    await made.close();
    const unhandled = unhandledOnes();
    const storage = new FaultyContainer(file);
    const image = await openOn(driver, storage);
    storage.failNext('read');
    const failing = image.write(Buffer.alloc(512, 2), 0, 512, 0);
    await expect(failing).rejects.toMatchObject({ kind: 'io' });
    await turn();
    expect(unhandled).toEqual([]);
    await image.write(Buffer.alloc(512, 2), 0, 512, 0);
    await image.close();
  },
);

it('a table that cannot be read again for the entry of new data leaves no space unused', async () => {
  const UNIT = 4096;
  const driver = await driverOf('qed');
  const file = emptyContainer();
  // Tables of one slice each, of which the cache holds four.
  const settings = { cluster_size: '4096', table_size: '1' };
  await createOn(driver, file, 6 * 512 * UNIT, settings);
  const storage = new FaultyContainer(file);
  const image = await openOn(driver, storage);
  const write = (unit: number) => image.write(Buffer.alloc(UNIT, 1), 0, UNIT, unit * UNIT);
  for (let table = 0; table < 6; table++) await write(table * 512);
  await image.sync();
  const end = file.sizeBytes;
  storage.onWrite = async () => {
    storage.onWrite = async () => undefined;
    for (let table = 1; table < 6; table++) {
      await image.read(Buffer.alloc(512), 0, 512, table * 512 * UNIT + UNIT);
    }
    await turn();
    storage.failNext('read');
  };
  await image.read(Buffer.alloc(512), 0, 512, UNIT);
  await expect(write(1)).rejects.toMatchObject({ kind: 'io' });
  await write(1);
  await image.close();
  expect((await bytesOf(file)).length).toBe(end + UNIT);
});
