import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { BlockImage } from '../../../src/image/image.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { Random } from '../../tools/crash-random.ts';
import { needsPrograms, runProgram, runWell } from '../../tools/programs.ts';
import { SEED } from '../../tools/seed.ts';
import { makeImage, workspace } from '../../tools/workspace.ts';
import { CrashWorkload } from '../appended/crash-workload.ts';
import { LoggedContainer } from '../appended/write-log.ts';
import { contentOf, create, KIB, MIB, openOn, qemuIo, rawAt } from './images.ts';

/** Media that are looked at in each test; the environment raises it. */
const MEDIA = Number(process.env.TMEM_CRASH_MEDIA ?? 25);
const SIZE = 3 * MIB;
/** Written and checked; what lies between is discarded, and written compressed. */
const PLACES = [0, 8, 40, 504, 512, 1000, 2040, 2048, 2900].map((place) => place * KIB);

interface Kind {
  readonly name: string;
  readonly options: Record<string, string | number>;
  readonly hasBase?: boolean;
  readonly hasSnapshot?: boolean;
  readonly isCompressed?: boolean;
}

const KINDS: Kind[] = [
  { name: 'small clusters', options: { cluster_size: 512, refcount_bits: 64 } },
  { name: 'clusters of 4 KiB', options: { cluster_size: 4096 } },
  { name: 'a backing file', options: { cluster_size: 4096 }, hasBase: true },
  { name: 'version 2', options: { cluster_size: 4096, compat: '0.10' }, hasBase: true },
  { name: 'a snapshot', options: { cluster_size: 4096 }, hasSnapshot: true },
  { name: 'compressed clusters', options: { cluster_size: 4096 }, isCompressed: true },
  { name: 'extended entries', options: { cluster_size: 16_384, extended_l2: 'on' }, hasBase: true },
  { name: 'preallocation', options: { cluster_size: 4096, preallocation: 'metadata' } },
];

async function makeKind(kind: Kind, directory: string) {
  const raw = makeImage(directory, SIZE);
  const path = `${directory}/disk.qcow2`;
  if (kind.isCompressed) {
    const options = '-ocluster_size=4096';
    await runWell('qemu-img', ['convert', '-c', '-f', 'raw', '-O', 'qcow2', options, raw, path]);
    return { bytes: readFileSync(path), base: undefined };
  }
  await create(path, SIZE, kind.options, kind.hasBase ? ['-b', raw, '-F', 'raw'] : []);
  if (kind.hasSnapshot) {
    await qemuIo(path, 'write -P 3 0 1M', 'write -P 4 2M 60k');
    await runWell('qemu-img', ['snapshot', '-c', 'before', path]);
  }
  return { bytes: readFileSync(path), base: kind.hasBase ? () => rawAt(raw) : undefined };
}

/** Discards, zeros and compressed clusters, away from the places whose content is checked. */
async function disturb(image: BlockImage, random: Random, rounds: number): Promise<void> {
  const { unitBytes } = image;
  for (let round = 0; round < rounds; round++) {
    const at = MIB + 32 * KIB + random.below(24) * 16_384;
    const unit = Buffer.alloc(unitBytes, `${round} ${at} `);
    const kind = random.below(4);
    if (kind === 0) await image.discard(at, 32 * KIB);
    else if (kind === 1) await image.write(unit, 0, Math.min(unitBytes, 3000), at + 500);
    else await image.writeCompressed(at, unit);
  }
}

async function record(kind: Kind, directory: string, seed: number) {
  const { bytes, base } = await makeKind(kind, directory);
  const random = new Random(seed);
  const log = new LoggedContainer(bytes, random);
  const workload = new CrashWorkload(log, random);
  const backing = base === undefined ? {} : { backing: base };
  let before: Buffer | undefined;
  for (let session = 0; session < 2; session++) {
    const image = await openOn(log, { ...backing, tableBytesMax: 64 * KIB });
    before ??= await contentOf(image);
    await Promise.all([workload.run(image, PLACES, 8), disturb(image, random, 30)]);
    await image.close();
  }
  return { log, workload, random, backing, before: before ?? Buffer.alloc(0), end: log.tick() };
}

describe('a qcow2 image after a loss of power', () => {
  needsPrograms('qemu-img', 'qemu-io');

  it.each(KINDS)('with $name only leaks, and has what was flushed', async (kind) => {
    const directory = workspace();
    const seed = SEED;
    const { log, workload, random, backing, before, end } = await record(kind, directory, seed);
    expect(log.syncs.length).toBeGreaterThan(4);
    const path = `${directory}/crashed.qcow2`;
    for (let medium = 0; medium < MEDIA; medium++) {
      const now = 1 + random.below(end);
      const lost = random.pick([0, 1, 0.3, 0.7, 'oldest', 'oldest'] as const);
      const bytes = log.mediumAt(now, lost);
      writeFileSync(path, bytes);
      const said = await runProgram('qemu-img', ['check', '-f', 'qcow2', path]);
      const when = `seed ${seed}, at ${now}, lost ${lost}`;
      expect([0, 3], `${when}\n${said.stdout}${said.stderr}`).toContain(said.code);
      const storage = new MemoryStorage(bytes, { isContainer: true });
      const image = await openOn(storage, { ...backing, isReadOnly: true });
      await workload.checkImage(image, now, before);
      await image.close();
    }
    writeFileSync(path, log.mediumAt(end, 1));
    const { code, stdout } = await runProgram('qemu-img', ['check', '-f', 'qcow2', path]);
    expect(code, stdout).toBe(0);
  });
});
