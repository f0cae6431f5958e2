import { join } from 'node:path';
import { expect, it } from 'vitest';
import { qedDriver } from '../../../src/image/qed/driver.ts';
import { Random } from '../../tools/crash-random.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import {
  BASE,
  bytesOf,
  containerOf,
  createOn,
  emptyContainer,
  saveTo,
} from '../appended/images.ts';
import { LoggedContainer } from '../appended/write-log.ts';

needsPrograms('qemu-img');

const baseOf = (letter: string, bytes = 1023) => ({ ...BASE, name: letter.repeat(bytes) });

async function made(letter: string): Promise<Buffer> {
  const container = emptyContainer();
  await createOn(
    qedDriver,
    container,
    1 << 20,
    { cluster_size: '4k' },
    { backing: baseOf(letter) },
  );
  return bytesOf(container);
}

it('a loss of power during a rebase leaves the old name of the base or the new one, however long', async () => {
  const log = new LoggedContainer(await made('a'), new Random(1));
  const moments = [0];
  for (const letter of ['b', 'c', 'd']) {
    await qedDriver.rebase?.(log, baseOf(letter));
    moments.push(log.tick());
  }
  const end = log.tick();
  for (let now = 1; now <= end; now++) {
    const done = moments.filter((each) => each <= now).length - 1;
    const allowed = [done, done + 1].map((each) => 'abcd'[each]?.repeat(1023));
    for (const lost of [0, 0.3, 0.7, 1, 'oldest'] as const) {
      const { backing } = await qedDriver.info(containerOf(log.mediumAt(now, lost)));
      expect(allowed, `at ${now}`).toContain(backing?.name);
    }
  }
});

it('qemu-img finds the name wherever a rebase has put it', async () => {
  const container = containerOf(await made('a'));
  for (const letter of ['b', 'c']) {
    await qedDriver.rebase?.(container, baseOf(letter, 90));
    const file = await saveTo(join(workspace(), 'disk.qed'), container);
    const told = await runWell('qemu-img', ['info', '--output=json', file]);
    expect(JSON.parse(told)).toMatchObject({ 'backing-filename': letter.repeat(90) });
  }
});
