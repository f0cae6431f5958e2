import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { TmemError } from '../../../src/lib/errors.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { Random } from '../../tools/crash-random.ts';
import { needsPrograms, runProgram } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { type GatedStorage, gatedImage, gateOf, unruly } from './gated.ts';
import { contentOf, expectSame, KIB, MIB, openOn } from './images.ts';
import { scribble } from './scribble.ts';

const CLUSTER = 64 * KIB;
const page = (value: number) => Buffer.alloc(4 * KIB, value);
const turn = () => new Promise((resolve) => setImmediate(resolve));

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

/** The first 4 KiB of a guest cluster. */
async function firstOf(image: Awaited<ReturnType<typeof openOn>>, cluster: number) {
  const buffer = Buffer.alloc(4 * KIB);
  await image.read(buffer, 0, buffer.length, cluster * CLUSTER);
  return buffer;
}

describe('a flush', () => {
  it('costs two syncs, whatever was written, and writes cost none', async () => {
    const storage = await gatedImage(64 * MIB);
    const image = await openOn(storage);
    for (const count of [1, 10, 300]) {
      for (let i = 0; i < count; i++) await image.write(page(i), 0, 4 * KIB, i * 3 * CLUSTER);
      expect(storage.syncs).toBe(0);
      await image.sync();
      expect(storage.syncs).toBeLessThanOrEqual(2);
      storage.syncs = 0;
    }
    await image.write(page(1), 0, 4 * KIB, 0);
    await image.sync();
    expect(storage.syncs, 'for a write in place').toBe(1);
    await image.close();
  });

  it('is shared by all who ask for it at once', async () => {
    const storage = await gatedImage(4 * MIB);
    const image = await openOn(storage);
    await image.write(page(1), 0, 4 * KIB, 0);
    await Promise.all(Array.from({ length: 20 }, () => image.sync()));
    expect(storage.syncs).toBeLessThanOrEqual(4);
    await image.close();
  });

  it('holds up nobody else', async () => {
    const storage = await gatedImage(4 * MIB);
    const image = await openOn(storage);
    await image.write(page(1), 0, 4 * KIB, 0);
    const gate = gateOf();
    storage.sync = async () => gate.opened;
    const flush = image.sync();
    await image.write(page(2), 0, 4 * KIB, CLUSTER);
    await image.writeZeroes(0, CLUSTER, true);
    expectSame(await firstOf(image, 1), page(2));
    expectSame(await firstOf(image, 0), page(0));
    gate.open();
    await flush;
    await image.close();
  });
});

describe('writes at once', () => {
  it('into one new cluster wait for each other, into others they do not', async () => {
    const storage = await gatedImage(4 * MIB);
    const image = await openOn(storage);
    const gate = gateOf();
    let isHeld = false;
    storage.gate = () => {
      if (isHeld) return undefined;
      isHeld = true;
      return gate.opened;
    };
    const first = image.write(page(1), 0, 4 * KIB, 0);
    while (!isHeld) await turn();
    const before = storage.writes.length;
    const second = image.write(page(2), 0, 4 * KIB, 8 * KIB);
    await turns(5);
    expect(storage.writes.length).toBe(before);
    await image.write(page(3), 0, 4 * KIB, CLUSTER);
    expectSame(await firstOf(image, 0), page(0), 'what is not written yet');
    gate.open();
    await Promise.all([first, second]);
    const buffer = Buffer.alloc(12 * KIB);
    await image.read(buffer, 0, buffer.length, 0);
    expectSame(buffer, Buffer.concat([page(1), page(0), page(2)]));
    await image.close();
  });

  it('of many clusters are one write of the storage', async () => {
    const storage = await gatedImage(16 * MIB);
    const image = await openOn(storage);
    await image.write(Buffer.alloc(8 * MIB, 1), 0, 8 * MIB, 0);
    expect(storage.writes).toMatchObject([{ length: 8 * MIB }]);
    await image.close();
  });
});

describe('space that is given up', () => {
  /** Where the data of the write went. */
  async function place(
    image: Awaited<ReturnType<typeof openOn>>,
    storage: GatedStorage,
    at: number,
  ) {
    storage.writes = [];
    await image.write(Buffer.alloc(CLUSTER, 1), 0, CLUSTER, at);
    return storage.writes[0]?.offset;
  }

  it('is used again after the flush that makes it free', async () => {
    const storage = await gatedImage(64 * MIB);
    const image = await openOn(storage);
    const first = await place(image, storage, 0);
    await image.sync();
    await image.discard(0, CLUSTER);
    expect(await place(image, storage, CLUSTER)).not.toBe(first);
    await image.sync();
    expect(await place(image, storage, 2 * CLUSTER)).toBe(first);
    await image.close();
  });

  it('is not used again while a request may still read it', async () => {
    const storage = await gatedImage(64 * MIB);
    const image = await openOn(storage);
    const first = await place(image, storage, 0);
    await image.sync();
    const gate = gateOf();
    const read = storage.read;
    storage.read = async (...args) => {
      await gate.opened;
      await read.apply(storage, args);
    };
    const reading = firstOf(image, 0);
    await image.discard(0, CLUSTER);
    await image.sync();
    await image.sync();
    expect(await place(image, storage, CLUSTER)).not.toBe(first);
    gate.open();
    expectSame(await reading, page(1));
    await image.sync();
    await image.sync();
    expect(await place(image, storage, 2 * CLUSTER)).toBe(first);
    await image.close();
  });

  it('stays where it is in an image whose file is as long as its disk', async () => {
    const storage = await gatedImage(2 * MIB);
    const image = await openOn(storage);
    await image.write(Buffer.alloc(2 * MIB, 1), 0, 2 * MIB, 0);
    await image.sync();
    await image.discard(CLUSTER, CLUSTER);
    await image.sync();
    expectSame(await firstOf(image, 1), page(0));
    const size = storage.sizeBytes;
    await image.write(Buffer.alloc(CLUSTER, 2), 0, CLUSTER, CLUSTER);
    expect(storage.sizeBytes).toBe(size);
    await image.close();
  });
});

describe('tables in memory', () => {
  it('that wait to be written are bounded', async () => {
    const storage = await gatedImage(64 * MIB, { cluster_size: '512' });
    const image = await openOn(storage, { tableBytesMax: 64 * KIB });
    for (let at = 0; at < 64 * MIB; at += 64 * KIB) {
      await image.write(Buffer.alloc(512, 1), 0, 512, at);
      expect(image.tables?.bytes).toBeLessThan(128 * KIB);
    }
    expect(storage.syncs).toBeGreaterThan(2);
    await image.close();
  });
});

describe('requests at once on a medium that is unruly', () => {
  needsPrograms('qemu-img');

  it.each([1, 2, 3])('leave what was written (seed %i)', async (seed) => {
    const random = new Random(seed);
    const storage = await gatedImage(3 * MIB, { cluster_size: '4096' });
    storage.gate = unruly(random, 0);
    const image = await openOn(storage, { tableBytesMax: 64 * KIB });
    const model = Buffer.alloc(3 * MIB);
    await scribble(image, model, random, { rounds: 40, bytesMax: 300 * KIB });
    expectSame(await contentOf(image), model);
    await image.close();
  });

  it.each([1, 2, 3])('that is full at times only leaks (seed %i)', async (seed) => {
    const random = new Random(seed);
    const storage = await gatedImage(3 * MIB, { cluster_size: '4096' });
    const image = await openOn(storage, { tableBytesMax: 64 * KIB });
    storage.gate = unruly(random, 0.1);
    let failures = 0;
    for (let round = 0; round < 60; round++) {
      const model = Buffer.alloc(image.virtualSizeBytes);
      try {
        await scribble(image, model, random, { rounds: 2, bytesMax: 100 * KIB });
      } catch (cause) {
        if (!(cause instanceof TmemError) || cause.kind !== 'no-space') throw cause;
        failures++;
      }
    }
    expect(failures).toBeGreaterThan(5);
    storage.gate = () => undefined;
    const before = await contentOf(image);
    await image.sync();
    await image.sync();
    const bytes = Buffer.alloc(storage.sizeBytes);
    await storage.read(bytes, 0, bytes.length, 0);
    await image.close();
    const again = await openOn(new MemoryStorage(bytes), { isReadOnly: true });
    expectSame(await contentOf(again), before, 'content when opened again');
    const path = `${workspace()}/disk.qcow2`;
    writeFileSync(path, bytes);
    const { code, stdout } = await runProgram('qemu-img', ['check', '-f', 'qcow2', path]);
    expect([0, 3], stdout).toContain(code);
  });
});
