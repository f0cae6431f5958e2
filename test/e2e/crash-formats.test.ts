import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { checkServed, killOnce } from '../tools/crash-kill.ts';
import { CrashModel } from '../tools/crash-model.ts';
import { Random } from '../tools/crash-random.ts';
import { SECTOR_BYTES } from '../tools/crash-sectors.ts';
import { needsPrograms, runProgram, runWell } from '../tools/programs.ts';
import { SEED } from '../tools/seed.ts';
import { makeServed, type ServedKind } from '../tools/served-kinds.ts';
import { startServer } from '../tools/server.ts';
import { MIB, workspace } from '../tools/workspace.ts';

needsPrograms('qemu-img');

/** Kills in all; more of them by TMEM_CRASH_ROUNDS. */
const ROUNDS = Number(process.env.TMEM_CRASH_ROUNDS ?? 30);
const SIZE = 8 * MIB;
/** A new image after so many kills: what is allocated is not allocated again. */
const KILLS_PER_IMAGE = 3;

const KINDS: readonly ServedKind[] = [
  { name: 'qcow2', format: 'qcow2' },
  { name: 'small qcow2', format: 'qcow2', options: 'cluster_size=512,refcount_bits=64' },
  { name: 'thin qcow2', format: 'qcow2', options: 'extended_l2=on,cluster_size=64k' },
  { name: 'qed', format: 'qed', options: 'cluster_size=16k,table_size=2' },
  { name: 'vmdk', format: 'vmdk' },
];
const CASES = KINDS.flatMap((kind) =>
  ['writethrough', 'writeback'].map((mode) => ({ kind, mode, name: kind.name })),
);

/** What qemu-img reads in the image, served or not, which it says is not corrupt. */
async function contentOf(image: string, { format }: ServedKind): Promise<Buffer> {
  const checked = await runProgram('qemu-img', ['check', '-U', '-f', format, image]);
  expect([0, 3], checked.stdout + checked.stderr).toContain(checked.code);
  const raw = `${image}.raw`;
  await runWell('qemu-img', ['convert', '-U', '-f', format, '-O', 'raw', image, raw]);
  const content = fs.readFileSync(raw);
  fs.rmSync(raw);
  return content;
}

test.each(CASES)(
  'a $name whose server is killed leaks at most, and has what was flushed, $mode',
  { timeout: 60_000 + ROUNDS * 2000 },
  async ({ kind, mode }) => {
    const random = new Random(SEED);
    const rounds = Math.ceil(ROUNDS / CASES.length);
    for (let round = 0; round < rounds; ) {
      const directory = path.join(workspace(), 'image');
      fs.mkdirSync(directory);
      const image = await makeServed(directory, kind, SIZE);
      const model = new CrashModel(SEED + round, SIZE / SECTOR_BYTES, 'flushed');
      const args = [image, '--mode', mode, '--memory', '32MiB', '--dirty-limit', '4MiB'];
      const parts = { model, random, directory, image, args };
      for (let kills = 0; kills < KILLS_PER_IMAGE && round < rounds; kills++, round++) {
        await killOnce({ ...parts, contentOf: () => contentOf(image, kind) });
      }
      const content = await contentOf(image, kind);
      await checkServed(await startServer(directory, args), content);
    }
  },
);
