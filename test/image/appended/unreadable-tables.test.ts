import { setImmediate as turn } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { driverOf } from '../../../src/image/formats.ts';
import { createOn, emptyContainer, FaultyContainer, openOn } from './images.ts';

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
