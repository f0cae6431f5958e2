import { describe, expect, it } from 'vitest';
import { Random } from '../../tools/crash-random.ts';
import { SEED } from '../../tools/seed.ts';
import { CrashWorkload } from '../appended/crash-workload.ts';
import {
  checkSmall,
  memoryOf,
  openSmall,
  SECTOR,
  type SmallOptions,
  smallImage,
} from './hand-made.ts';
import { ScribbledContainer } from './scribbled-container.ts';

const SECTORS = 3 * 8 * 8 + 4;
/** Stretches of 16 sectors, two grains, that cross the tables' borders. */
const PLACES = [0, 16, 56, 72, 88, 120, 160].map((sector) => sector * SECTOR);

const KINDS: Omit<SmallOptions, 'capacitySectors'>[] = [
  { hasTables: true },
  { hasTables: false },
  { hasTables: false, hasZeroes: true, hasCopies: false },
];

describe.each(KINDS)('after a loss of power, an image with %o', (kind) => {
  it('is in order and has what was flushed', async () => {
    const random = new Random(SEED);
    const begin = smallImage({ ...kind, capacitySectors: SECTORS });
    const log = new ScribbledContainer(begin, random);
    const image = await openSmall(log);
    const workload = new CrashWorkload(log, random);
    for (let session = 0; session < 3; session++) {
      await workload.run(image, PLACES, 2);
      await workload.flush(image);
    }
    const end = log.tick();
    for (let now = 0; now <= end; now++) {
      for (const lost of [0, 1, 'oldest', random.pick([0.1, 0.5, 0.9])] as const) {
        const medium = log.mediumAt(now, lost);
        const { corruptions, errors, findings } = await checkSmall(medium);
        const faults = corruptions + errors > 0 ? findings : [];
        expect(faults, `at ${now}, with a loss of ${lost}`).toEqual([]);
        const opened = await openSmall(memoryOf(medium, true));
        await workload.checkImage(opened, now, Buffer.alloc(SECTORS * SECTOR));
      }
    }
    expect(log.syncs.length).toBeGreaterThan(3);
  });
});

it('space is not used again while a durable table may name it', async () => {
  const random = new Random(SEED);
  const grain = 8 * SECTOR;
  const log = new ScribbledContainer(smallImage({ capacitySectors: SECTORS }), random);
  const image = await openSmall(log);
  await image.write(Buffer.alloc(4 * grain, 1), 0, 4 * grain, 0);
  await image.sync();
  const flushedAt = log.tick();
  for (let round = 0; round < 4; round++) {
    await image.writeZeroes(round * grain, grain, true);
    await image.write(Buffer.alloc(grain, 2), 0, grain, (10 + round) * grain);
    if (round > 0) await image.sync();
  }
  const end = log.tick();
  for (let now = flushedAt; now <= end; now++) {
    for (const lost of [0, 1, 'oldest', 0.5] as const) {
      const opened = await openSmall(memoryOf(log.mediumAt(now, lost), true));
      const content = Buffer.alloc(4 * grain);
      await opened.read(content, 0, content.length, 0);
      const found = [0, 1, 2, 3].map((each) => [
        ...new Set(content.subarray(each * grain, (each + 1) * grain)),
      ]);
      for (const each of found) expect([[0], [1]]).toContainEqual(each);
    }
  }
});
