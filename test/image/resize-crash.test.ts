import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { FormatName } from '../../src/image/format.ts';
import { driverOf } from '../../src/image/formats.ts';
import { pattern } from '../storage/contract.ts';
import { Random } from '../tools/crash-random.ts';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { workspace } from '../tools/workspace.ts';
import { checkOf, containerOf, contentOf, FaultyContainer, openOn } from './appended/images.ts';
import { LoggedContainer } from './appended/write-log.ts';

const KIB = 1024;
const OLD = 256 * KIB + 512;
const NEW = 2048 * KIB;
/** Longer than the disk will be. */
const base = pattern(3072 * KIB);

interface Kind {
  readonly format: FormatName;
  readonly options: string;
}

const KINDS: Kind[] = [
  { format: 'qcow2', options: 'cluster_size=4096' },
  { format: 'qcow2', options: 'cluster_size=512' },
  { format: 'qcow2', options: 'cluster_size=4096,compat=0.10' },
  { format: 'qcow2', options: 'cluster_size=16384,extended_l2=on' },
  { format: 'qed', options: 'cluster_size=4096,table_size=1' },
];

async function overlay({ format, options }: Kind): Promise<Buffer> {
  const path = `${workspace()}/disk`;
  const over = ['-u', '-b', 'base.raw', '-F', 'raw', path, `${OLD}`];
  await runWell('qemu-img', ['create', '-q', '-f', format, '-o', options, ...over]);
  return readFileSync(path);
}

/** What a disk of that size shows: of the base only what it showed before. */
function contentFor(sizeBytes: number): Buffer {
  const content = Buffer.alloc(sizeBytes);
  base.copy(content, 0, 0, OLD);
  return content;
}

describe.each(KINDS)('a $format overlay ($options) that grows over a longer base', (kind) => {
  needsPrograms('qemu-img');

  it('has its old size, or zeros, whenever the power is lost', async () => {
    const driver = await driverOf(kind.format);
    const log = new LoggedContainer(await overlay(kind), new Random(3));
    const image = await openOn(driver, log, base);
    await image.resize(NEW);
    const end = log.tick();
    await image.close();
    const sizes = new Set<number>();
    for (let now = 1; now <= end; now += now < end / 2 ? 7 : 1) {
      for (const lost of [0, 1, 0.5, 'oldest'] as const) {
        const bytes = log.mediumAt(now, lost);
        const left = await openOn(driver, containerOf(bytes, true), base);
        sizes.add(left.virtualSizeBytes);
        const expected = contentFor(left.virtualSizeBytes);
        const when = `at ${now} of ${end}, lost ${lost}`;
        expect((await contentOf(left)).equals(expected), when).toBe(true);
        expect(await checkOf(driver, containerOf(bytes)), when).toMatchObject({ corruptions: 0 });
      }
    }
    expect([...sizes].sort((a, b) => a - b)).toEqual([OLD, NEW]);
  });

  it('has its old size again when the zeros cannot be written', async () => {
    const driver = await driverOf(kind.format);
    const storage = new FaultyContainer(containerOf(await overlay(kind)));
    const image = await openOn(driver, storage, base);
    storage.onWrite = () => {
      if (image.virtualSizeBytes === NEW) throw new Error('full');
    };
    storage.onWriteZeroes = storage.onWrite;
    await expect(image.resize(NEW)).rejects.toThrow('full');
    storage.onWrite = undefined;
    storage.onWriteZeroes = undefined;
    expect(image.virtualSizeBytes).toBe(OLD);
    await image.close();
    expect((await driver.info(storage)).virtualSizeBytes).toBe(OLD);
    const left = await openOn(driver, storage, base);
    expect((await contentOf(left)).equals(contentFor(OLD))).toBe(true);
  });
});
