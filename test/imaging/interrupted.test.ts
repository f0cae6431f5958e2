import { expect, test } from 'vitest';
import { BlockImage } from '../../src/image/image.ts';
import { compareImages } from '../../src/imaging/compare.ts';
import { mapImage } from '../../src/imaging/map.ts';
import { measureImage } from '../../src/imaging/measure.ts';
import { ToyFormat } from '../image/toy-format.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';

const UNITS = 20_000;

/** Of runs that are a unit long, with all its tables in memory. */
function patchwork(name: string): BlockImage {
  const storage = new MemoryStorage(Buffer.alloc(0), { isContainer: true });
  const format = new ToyFormat({ storage, sizeBytes: UNITS * 512, unitBytes: 512 });
  for (let unit = 0; unit < UNITS; unit += 2) format.units.set(unit, { kind: 'zero' });
  return new BlockImage({ name, identity: name, medium: name, format });
}

async function drain(runs: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of runs);
}

test.each<[string, (image: BlockImage, signal: AbortSignal) => Promise<unknown>]>([
  ['measure', (disk, signal) => measureImage({ formatName: 'qcow2', disk, signal })],
  ['map', (image, signal) => drain(mapImage(image, signal))],
  [
    'compare',
    (image, signal) =>
      compareImages({ images: [image, patchwork('other')], isStrict: true, signal }),
  ],
])('%s hears of a signal while it looks through tables in memory', async (_name, work) => {
  const image = patchwork('one');
  await work(image, new AbortController().signal);
  const interrupted = new AbortController();
  setImmediate(() => interrupted.abort());
  await expect(work(image, interrupted.signal)).rejects.toThrow(/aborted/);
});
