import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import type { FormatDriver } from '../../src/image/format.ts';
import type { BlockImage } from '../../src/image/image.ts';
import { qcowDriver } from '../../src/image/qcow/driver.ts';
import { qcow2Driver } from '../../src/image/qcow2/driver.ts';
import { qedDriver } from '../../src/image/qed/driver.ts';
import { vmdkDriver } from '../../src/image/vmdk/driver.ts';
import { TmemError } from '../../src/lib/errors.ts';
import { Random } from '../tools/crash-random.ts';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { SEED } from '../tools/seed.ts';
import { MIB, workspace } from '../tools/workspace.ts';
import { bytesOf, checkOf, containerOf, createOn, openOn } from './appended/images.ts';
import { SmallDisk } from './small-disk.ts';

needsPrograms('qemu-img');

const SLOT = 4096;
const SIZE = 4096 * MIB;
/** What is written is in a few regions far apart, of so many slots. */
const REGIONS = 6;
const REGION_SLOTS = 512;
const REGION_BYTES = SIZE / 8;
const DISKS = 12;
const ROUNDS = 40;

interface Kind {
  readonly name: string;
  readonly driver: FormatDriver;
  readonly settings: Record<string, string>;
  readonly hasSnapshot?: boolean;
}

const KINDS: Kind[] = [
  { name: 'qcow2', driver: qcow2Driver, settings: { cluster_size: '4096' } },
  {
    name: 'qcow2 whose counts run out',
    driver: qcow2Driver,
    settings: { cluster_size: '512', refcount_bits: '64' },
  },
  {
    name: 'qcow2 with subclusters',
    driver: qcow2Driver,
    settings: { cluster_size: '16384', extended_l2: 'on' },
  },
  {
    name: 'qcow2 with a snapshot',
    driver: qcow2Driver,
    settings: { cluster_size: '4096' },
    hasSnapshot: true,
  },
  { name: 'qed', driver: qedDriver, settings: { cluster_size: '4096', table_size: '4' } },
  { name: 'qcow', driver: qcowDriver, settings: {} },
  { name: 'vmdk', driver: vmdkDriver, settings: {} },
];

async function make({ driver, settings, hasSnapshot = false }: Kind): Promise<SmallDisk> {
  const disk = new SmallDisk(`disk.${driver.formatName}`);
  await createOn(driver, disk, SIZE, settings);
  if (!hasSnapshot) return disk;
  const image = await openOn(driver, disk);
  for (let region = 0; region < REGIONS; region++) {
    await image.write(Buffer.alloc(SLOT), 0, SLOT, region * REGION_BYTES);
  }
  await image.close();
  const file = path.join(workspace(), 'disk.qcow2');
  fs.writeFileSync(file, await bytesOf(disk));
  await runWell('qemu-img', ['snapshot', '-c', 'before', file]);
  const bytes = fs.readFileSync(file);
  await disk.write(bytes, 0, bytes.length, 0);
  return disk;
}

/** What the guest is to read: the bytes that may be in each slot, of those that were changed. */
class Guest {
  readonly values = new Map<number, readonly number[]>();
  failures = 0;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Requests at once, each to a slot of its own. */
  async disturb(image: BlockImage): Promise<void> {
    const slots = new Set<number>();
    const count = 1 + this.#random.below(6);
    const first = this.#random.below(REGION_SLOTS);
    const region = (this.#random.below(REGIONS) * REGION_BYTES) / SLOT;
    for (let i = 0; i < count; i++) {
      const isNear = this.#random.chance(0.6);
      slots.add(region + (isNear ? first + i : this.#random.below(REGION_SLOTS)));
    }
    await Promise.all([...slots].map((slot) => this.#change(image, slot)));
  }

  async #change(image: BlockImage, slot: number): Promise<void> {
    const at = slot * SLOT;
    const kind = this.#random.below(10);
    const value = kind < 8 ? 1 + this.#random.below(255) : 0;
    try {
      if (kind < 8) await image.write(Buffer.alloc(SLOT, value), 0, SLOT, at);
      else if (kind === 8) await image.writeZeroes(at, SLOT, true);
      else await image.discard(at, SLOT);
      if (kind < 9) {
        this.values.set(slot, [value]);
        return;
      }
    } catch (cause) {
      if (!(cause instanceof TmemError) || cause.kind !== 'no-space') throw cause;
      this.failures++;
    }
    // A part of a cluster need not be discarded, and of small clusters some may have had space.
    const said = await readSlot(image, slot);
    const before = this.values.get(slot) ?? [0];
    expect([value, ...before], `slot ${slot}`).toEqual(expect.arrayContaining([...said]));
    this.values.set(slot, said);
  }

  async check(image: BlockImage, when: string): Promise<void> {
    for (const [slot, values] of this.values) {
      const said = await readSlot(image, slot);
      expect(values, `${when}, slot ${slot}`).toEqual(expect.arrayContaining([...said]));
    }
  }
}

/** The different bytes in it. */
async function readSlot(image: BlockImage, slot: number): Promise<readonly number[]> {
  const read = Buffer.alloc(SLOT);
  await image.read(read, 0, SLOT, slot * SLOT);
  return [...new Set(read)];
}

it.each(KINDS)('on a full disk $name flushes all that it has acknowledged', async (kind) => {
  let failures = 0;
  for (let round = 0; round < DISKS; round++) {
    const random = new Random(SEED * 1000 + round);
    const disk = await make(kind);
    disk.leaveBlocks(random.below(160));
    const guest = new Guest(random);
    const image = await openOn(kind.driver, disk);
    for (let step = 0; step < ROUNDS; step++) {
      await guest.disturb(image);
      if (random.chance(0.3)) await image.sync();
    }
    await image.sync();
    const when = `disk ${round}`;
    const left = containerOf(await bytesOf(disk));
    expect(await checkOf(kind.driver, left), when).toMatchObject({ corruptions: 0 });
    await guest.check(await openOn(kind.driver, left), when);
    await image.close();
    const report = await checkOf(kind.driver, disk);
    expect(report.corruptions, when).toBe(0);
    // The others can only grow, and what lies before the end of the file is lost.
    if (kind.driver === qcow2Driver) expect(report.leaks, when).toBe(0);
    failures += guest.failures;
  }
  expect(failures).toBeGreaterThan(0);
});

it('on a full disk a qcow2 image that could not become larger flushes all the same', async () => {
  const disk = new SmallDisk('disk.qcow2');
  await createOn(qcow2Driver, disk, 16 * MIB, { cluster_size: '512' });
  const image = await openOn(qcow2Driver, disk);
  disk.leaveBlocks(4);
  await expect(image.resize(160 * MIB)).rejects.toMatchObject({ kind: 'no-space' });
  await image.sync(); // gives back what there was of the larger table
  await image.write(Buffer.alloc(512, 7), 0, 512, 0);
  await image.sync();
  await image.close();
  expect(await checkOf(qcow2Driver, disk)).toMatchObject({ corruptions: 0, leaks: 0 });
  const [said] = await readSlot(await openOn(qcow2Driver, containerOf(await bytesOf(disk))), 0);
  expect(said).toBe(7);
});
