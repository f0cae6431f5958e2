import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { FormatDriver } from '../../../src/image/format.ts';
import { qcowDriver } from '../../../src/image/qcow/driver.ts';
import { qedDriver } from '../../../src/image/qed/driver.ts';
import { pattern } from '../../storage/contract.ts';
import { Random } from '../../tools/crash-random.ts';
import { leaveOutWithout, runProgram } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { CrashWorkload } from './crash-workload.ts';
import {
  BASE,
  bytesOf,
  checkOf,
  containerOf,
  createOn,
  emptyContainer,
  openOn,
  saveTo,
} from './images.ts';
import { LoggedContainer } from './write-log.ts';

const KIB = 1024;
/** Both sides of where one table of 512 clusters ends and the next begins. */
const PLACES = [0, 8, 40, 2040, 2048, 2056, 3000].map((place) => place * KIB);
const SIZE = 3010 * KIB;

interface Kind {
  readonly driver: FormatDriver;
  readonly settings: Record<string, string>;
  readonly hasBase: boolean;
}

const qed = { driver: qedDriver, settings: { cluster_size: '4096', table_size: '2' } };
const qcow = { driver: qcowDriver, settings: { cluster_size: '4096' } };
const KINDS: Kind[] = [
  { ...qed, hasBase: false },
  { ...qed, hasBase: true },
  { ...qcow, hasBase: false },
  { ...qcow, hasBase: true },
];

async function record({ driver, settings, hasBase }: Kind, seed: number) {
  const random = new Random(seed);
  const empty = emptyContainer();
  await createOn(driver, empty, SIZE, settings, hasBase ? { backing: BASE } : {});
  const log = new LoggedContainer(await bytesOf(empty), random);
  const base = hasBase ? pattern(SIZE) : Buffer.alloc(SIZE);
  const workload = new CrashWorkload(log, random);
  for (let session = 0; session < 2; session++) {
    const image = await openOn(driver, log, hasBase ? base : undefined);
    await workload.run(image, PLACES, 6);
    await image.close();
  }
  return { log, workload, base, end: log.tick() };
}

describe.each(KINDS)('$driver.formatName, over a backing file: $hasBase', (kind) => {
  it.each([1, 2])(
    'any loss of power only leaks, and keeps what was flushed (seed %i)',
    async (seed) => {
      const { log, workload, base, end } = await record(kind, seed);
      expect(log.syncs.length).toBeGreaterThan(3);
      for (let now = 1; now <= end; now++) {
        for (const lost of ['oldest', 'oldest', [0, 1, 0.3, 0.7][now % 4] ?? 0] as const) {
          const medium = containerOf(log.mediumAt(now, lost));
          const isMarked = (await kind.driver.info(medium)).isDirty;
          const before = await checkOf(kind.driver, medium);
          if (!isMarked) expect(before, `at ${now}`).toMatchObject({ corruptions: 0, errors: 0 });
          const image = await openOn(kind.driver, medium, kind.hasBase ? base : undefined);
          await workload.checkImage(image, now, base);
          const after = await checkOf(kind.driver, medium);
          expect(after, `at ${now}`).toMatchObject({ corruptions: 0, errors: 0 });
        }
      }
      const closed = containerOf(log.mediumAt(end, 1));
      const report = await checkOf(kind.driver, closed);
      expect(report).toMatchObject({ corruptions: 0, leaks: 0 });
      expect((await kind.driver.info(closed)).isDirty).toBe(false);
    },
  );
});

it('qemu opens a QED image after any loss of power, and finds at most leaks', async ({ skip }) => {
  leaveOutWithout(skip, 'qemu-img', 'qemu-io');
  const { log, end } = await record({ ...qed, hasBase: false }, 3);
  const path = join(workspace(), 'crashed.qed');
  for (let step = 1; step <= 8; step++) {
    await saveTo(
      path,
      containerOf(log.mediumAt(Math.floor((end * step) / 8), step % 3 === 0 ? 1 : 0.5)),
    );
    const opened = await runProgram('qemu-io', ['-f', 'qed', '-c', 'write 0 512', path]);
    expect(opened.code, opened.stderr).toBe(0);
    const checked = await runProgram('qemu-img', ['check', '-f', 'qed', path]);
    expect([0, 3], checked.stdout).toContain(checked.code);
  }
});
