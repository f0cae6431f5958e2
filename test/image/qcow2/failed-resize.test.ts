import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { qcow2Driver } from '../../../src/image/qcow2/driver.ts';
import { bitmapDirectory, readBitmaps } from '../../../src/image/qcow2/structures/bitmaps.ts';
import { readHeader } from '../../../src/image/qcow2/structures/header.ts';
import { KeptBitmap } from '../../../src/image/qcow2/writes/kept-bitmap.ts';
import { TmemError } from '../../../src/lib/errors.ts';
import { readUInt64BE } from '../../../src/lib/uint64.ts';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { needsPrograms, runWell } from '../../tools/programs.ts';
import { workspace } from '../../tools/workspace.ts';
import { bytesOf, checkOf, containerOf, createOn, emptyContainer } from '../appended/images.ts';
import { MIB, openOn } from './images.ts';

const CLUSTER = 512;
/** What is written between two changes of the size. */
const WRITTEN = 2 * MIB;

/** A request that fails is not done, or done all the same. */
type Fault = 'lost' | 'made';

class FailingContainer extends MemoryStorage {
  #failsAt = 0;
  /** Whether it can grow no more. */
  isFull = false;
  #count = 0;
  readonly #fault: Fault;

  constructor(bytes: Buffer, fault: Fault) {
    super(Buffer.from(bytes), { name: 'failing.qcow2', isContainer: true });
    this.#fault = fault;
  }

  /** Fails the request of that number from now on, counted from 1. */
  failAt(number: number): void {
    this.#failsAt = this.#count + number;
  }

  get hasFailed(): boolean {
    return this.#count >= this.#failsAt;
  }

  override async write(buffer: Buffer, at: number, length: number, offset: number): Promise<void> {
    if (this.isFull && offset + length > this.sizeBytes) {
      throw new TmemError('no-space', 'the disk is full');
    }
    const fails = ++this.#count === this.#failsAt;
    if (!fails || this.#fault !== 'lost') await super.write(buffer, at, length, offset);
    if (fails) throw new TmemError('io', 'a write failed');
  }

  override async sync(): Promise<void> {
    if (++this.#count === this.#failsAt) throw new TmemError('io', 'a sync failed');
  }

  override async close(): Promise<void> {}
}

/** With bitmaps whose tables need another cluster from 128 MiB on. */
async function makeImage(): Promise<Buffer> {
  const file = path.join(workspace(), 'disk.qcow2');
  await runWell('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', 'cluster_size=512', file, '8M']);
  for (const name of ['kept', 'still']) {
    await runWell('qemu-img', ['bitmap', '--add', '-g', '512', file, name]);
  }
  await runWell('qemu-img', ['bitmap', '--disable', file, 'still']);
  return fs.readFileSync(file);
}

/** What believable bitmaps say of WRITTEN; rejects for one that has not the disk's length. */
async function saidOfWritten(left: MemoryStorage): Promise<Record<string, boolean>> {
  const header = await readHeader(left);
  const directory = bitmapDirectory(header, left.name);
  if (directory === undefined) throw new Error('the bitmaps are gone');
  const bit = WRITTEN / CLUSTER; // the first one of a byte
  const said: Record<string, boolean> = {};
  for (const bitmap of await readBitmaps(left, header, directory)) {
    if (bitmap.isInUse) continue;
    const kept = await KeptBitmap.read(left, header, directory.offset, bitmap);
    if (kept === undefined) throw new Error(`${bitmap.name}: another length`);
    const word = Buffer.alloc(8);
    await left.read(word, 0, 8, bitmap.tableOffset + Math.floor(bit / 8 / CLUSTER) * 8);
    const offset = readUInt64BE(word, 0);
    if (offset !== 0) await left.read(word, 0, 1, offset + (Math.floor(bit / 8) % CLUSTER));
    said[bitmap.name] = offset !== 0 && (word[0] ?? 0) % 2 === 1;
  }
  return said;
}

describe('a qcow2 image whose disk could not get another size', () => {
  needsPrograms('qemu-img');

  it.each<Fault>(['lost', 'made'])(
    'keeps its tables, and bitmaps that are marked or tell the truth: %s',
    async (fault) => {
      const start = await makeImage();
      for (let failsAt = 1, isOver = false; !isOver; failsAt++) {
        const storage = new FailingContainer(start, fault);
        const image = await openOn(storage);
        storage.failAt(failsAt);
        const attempts = [];
        for (const sizeBytes of [160 * MIB, 9 * MIB]) {
          attempts.push(await image.resize(sizeBytes).catch(String));
          attempts.push(
            await image.write(Buffer.alloc(CLUSTER, 7), 0, CLUSTER, WRITTEN).catch(String),
          );
          attempts.push(await image.sync().catch(String));
        }
        const sizeBytes = image.virtualSizeBytes;
        const isClosed = await image.close().then(
          () => true,
          () => false,
        );
        const when = `${fault} at ${failsAt}: ${attempts.join(', ')}`;
        const left = containerOf(await bytesOf(storage));
        expect(await checkOf(qcow2Driver, left), when).toMatchObject({ corruptions: 0 });
        if (isClosed) expect((await readHeader(left)).sizeBytes, when).toBe(sizeBytes);
        const { kept, still } = await saidOfWritten(left);
        expect([kept ?? true, still ?? false], when).toEqual([true, false]);
        isOver = !storage.hasFailed;
      }
    },
  );

  it('writes nothing to an L1 table that may be in force before what that names is there', async () => {
    const empty = emptyContainer();
    await createOn(qcow2Driver, empty, 8 * MIB, { cluster_size: '512' });
    for (let failsAt = 1; ; failsAt++) {
      const storage = new FailingContainer(await bytesOf(empty), 'made');
      const image = await openOn(storage);
      await image.write(Buffer.alloc(CLUSTER, 1), 0, CLUSTER, 0);
      await image.sync();
      storage.failAt(failsAt);
      const failure = await image.resize(16 * MIB).catch(String);
      if (failure === undefined) break;
      await image.write(Buffer.alloc(CLUSTER, 7), 0, CLUSTER, 4 * MIB);
      storage.isFull = true;
      await image.write(Buffer.alloc(CLUSTER, 7), 0, CLUSTER, 5 * MIB).catch(() => undefined);
      await image.sync().catch(() => undefined);
      const left = containerOf(await bytesOf(storage));
      const when = `at ${failsAt}: ${failure}`;
      expect(await checkOf(qcow2Driver, left), when).toMatchObject({ corruptions: 0 });
    }
  });

  it.each<[Fault, number]>([
    ['lost', 16 * MIB],
    ['made', 16 * MIB],
    ['lost', 8 * MIB],
    ['made', 8 * MIB],
  ])(
    'leaks nothing, and has the size that it gets then: %s, %i bytes',
    async (fault, sizeBytes) => {
      const empty = emptyContainer();
      await createOn(qcow2Driver, empty, 8 * MIB, { cluster_size: '512' });
      for (let failsAt = 1; ; failsAt++) {
        const storage = new FailingContainer(await bytesOf(empty), fault);
        const image = await openOn(storage);
        await image.write(Buffer.alloc(CLUSTER, 1), 0, CLUSTER, 0);
        storage.failAt(failsAt);
        const failure = await image.resize(16 * MIB).catch(String);
        if (failure === undefined) break;
        await image.resize(sizeBytes);
        await image.write(Buffer.alloc(CLUSTER, 7), 0, CLUSTER, sizeBytes - CLUSTER);
        await image.close();
        const left = containerOf(await bytesOf(storage));
        const when = `at ${failsAt}: ${failure}`;
        expect(await checkOf(qcow2Driver, left), when).toMatchObject({ corruptions: 0, leaks: 0 });
        expect((await readHeader(left)).sizeBytes, when).toBe(sizeBytes);
      }
    },
  );
});
