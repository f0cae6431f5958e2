import { describe, expect, it } from 'vitest';
import { noise, quiet, read, write } from '../fixture.ts';
import { type ChainDisk, ChainWorld, fill, PAGE, SECTOR, SIZE, valueIn } from './chain-world.ts';

const UNIT = 4096;

function world(
  owners = { piecePages: 100, pieceCount: 1 },
  mayAllocate = () => true,
  isAsync = true,
) {
  return new ChainWorld({
    ...{ modes: ['writethrough', 'writeback'], unitBytes: UNIT, middleData: [2], middleZeros: [3] },
    ...{ ...owners, limitPages: 100, mayAllocate, isAsync },
  });
}

/** A promise, and what resolves it. */
function gate() {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/** Takes every step there is until the work has ended; answers how many reads each storage had. */
async function finish<Answer>(chain: ChainWorld, work: Promise<Answer>) {
  let isOver = false;
  const end = () => {
    isOver = true;
  };
  work.then(end, end);
  const reads = chain.storages.map(() => 0);
  await quiet();
  while (!isOver) {
    for (const [i, storage] of chain.storages.entries()) {
      if (storage.steps.length === 0) continue;
      if (storage.steps[0]?.what === 'read takes bytes') reads[i]!++;
      await storage.step(0);
    }
    await quiet();
  }
  return { answer: await work, reads: { middle: reads.at(-2), bottom: reads.at(-1) } };
}

const pageOf = (disk: ChainDisk, page: number, count = 1) =>
  read(disk, page * PAGE, Math.min(count * PAGE, SIZE - page * PAGE));

function whole(value: number): Buffer {
  const page = Buffer.alloc(PAGE);
  for (let sector = 0; sector < PAGE / SECTOR; sector++) fill(page, sector, value);
  return page;
}

describe('a page that is shared', () => {
  it('is read once for two disks that want it at once, and for none after that', async () => {
    const chain = world();
    const [one, other] = chain.disks as [ChainDisk, ChainDisk];
    const both = Promise.all([pageOf(one, 0, 3), pageOf(other, 0, 3)]);
    const { answer, reads } = await finish(chain, both);
    expect(reads).toEqual({ middle: 1, bottom: 1 });
    expect(answer[0].equals(answer[1])).toBe(true);
    expect((await finish(chain, pageOf(other, 0, 2))).reads).toEqual({ middle: 0, bottom: 0 });
  });

  it('is a hit of a disk that never asked for it, and not read ahead for that', async () => {
    const chain = world(undefined, undefined, false);
    const [one, other] = chain.disks as [ChainDisk, ChainDisk];
    await finish(chain, pageOf(one, 0, 3));
    await finish(
      chain,
      other.target.reads.prefetch(0, 2 * PAGE, () => true),
    );
    await finish(chain, pageOf(other, 0, 3));
    expect(one.target.statistics).toMatchObject({ readHits: 0, readMisses: 1 });
    expect(other.target.statistics).toMatchObject({ readHits: 1, readMisses: 0, aheadPages: 0 });
  });

  it('fails the read, and nothing else, when tables in memory lead nowhere', async () => {
    const chain = world(undefined, undefined, false);
    const [disk] = chain.disks as [ChainDisk];
    disk.format.map = () => {
      throw new Error('damaged');
    };
    await expect(pageOf(disk, 0, 3)).rejects.toThrow('damaged');
  });

  it('is not read over what the disk, or an image in between, has beside it', async () => {
    const chain = world();
    const [disk] = chain.disks as [ChainDisk, ChainDisk];
    await finish(chain, write(disk, PAGE, whole(77)));
    const { answer } = await finish(chain, pageOf(disk, 0, 5));
    const values = [0, 8, 16, 24, 32].map((sector) => valueIn(answer, sector));
    expect(values).toEqual([2_000_000, 77, 1_000_000 + (2 * 2 * UNIT) / SECTOR, 0, 2_000_032]);
  });

  it('is, once it is written, a hit of the pool of the disk that wrote it', async () => {
    const chain = world();
    const [, disk] = chain.disks as [ChainDisk, ChainDisk];
    const { cache } = disk.target;
    await finish(chain, write(disk, PAGE, whole(77)));
    const before = [cache.hits, cache.misses];
    await finish(chain, pageOf(disk, 1, 1));
    expect([cache.hits, cache.misses]).toEqual([(before[0] ?? 0) + 1, before[1]]);
  });

  it('is not written to a disk with what is dirty on both sides of it', async () => {
    const chain = world();
    const [, disk] = chain.disks as [ChainDisk, ChainDisk];
    await finish(chain, pageOf(disk, 0, 5));
    const writeAndSync = async (...pages: number[]) => {
      for (const page of pages) await finish(chain, write(disk, page * PAGE, noise(PAGE, page)));
      await finish(chain, disk.target.sync());
    };
    await writeAndSync(0, 2);
    expect([...disk.format.units.keys()]).toEqual([0, 2]);
    await writeAndSync(1);
    await writeAndSync(0, 2);
    expect(disk.target.writeBack?.writer.statistics.cleanPages).toBe(1); // it is the disk's own now
  });

  it('nor while it is not known whose it is', () => {
    const [disk] = world().disks as [ChainDisk];
    const { clean } = disk.target.pages;
    clean.put(1, noise(PAGE), 0);
    expect(clean.hasBytes(1)).toBe(false);
    clean.claim?.(1, 1);
    expect(clean.hasBytes(1)).toBe(true);
  });

  it('fails whoever wants it while it cannot be read, and nobody else', async () => {
    const chain = world();
    const [one, other] = chain.disks as [ChainDisk, ChainDisk];
    chain.bottom.fateOf = () => 'fails halfway';
    const failing = Promise.allSettled([pageOf(one, 0), pageOf(other, 0), pageOf(other, 2)]);
    const { answer } = await finish(chain, failing);
    expect(answer.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
    chain.bottom.fateOf = () => 'well';
    const again = await finish(chain, pageOf(other, 0));
    expect(valueIn(again.answer, 0)).toBe(2_000_000);
    expect(one.buffers.lentBytes).toBe(0);
  });

  it('is of the image above where the end of one cuts it, and of the disk where all end', async () => {
    const chain = world();
    const [one, other] = chain.disks as [ChainDisk, ChainDisk];
    for (const [disk, readCount] of [
      [one, 1],
      [other, 0],
    ] as const) {
      const { answer, reads } = await finish(chain, pageOf(disk, 7, 6));
      expect(valueIn(answer, 0)).toBe(2_000_056);
      expect(answer.subarray(SECTOR).every((byte) => byte === 0)).toBe(true);
      expect(reads.bottom).toBe(readCount);
    }
  });
});

describe.each([0, 1])('zeroes over many pages of disk %i', (number) => {
  it('are read, though the base was found to have a page before they were there', async () => {
    const chain = world({ piecePages: 1, pieceCount: 8 }); // no owners are noted of long ranges
    const disk = chain.disks[number]!;
    const { open, opened } = gate();
    const zero = disk.format.zero.bind(disk.format);
    disk.format.zero = async (...range) => {
      await opened;
      return await zero(...range);
    };
    const zeroed = disk.target.writeZeroes(0, 4 * PAGE, true);
    await quiet();
    const before = await finish(chain, pageOf(disk, 1));
    expect(valueIn(before.answer, 0)).toBe(2_000_008);
    open();
    await finish(chain, zeroed);
    expect((await finish(chain, pageOf(disk, 1))).answer.equals(Buffer.alloc(PAGE))).toBe(true);
    const { answer } = await finish(chain, pageOf(chain.disks[1 - number]!, 1));
    expect(valueIn(answer, 0)).toBe(2_000_008);
  });
});

describe.each([false, true])('a page that is written back (refused by memory: %s)', (isRefused) => {
  it('is read, though the base was found to have it before it was there', async () => {
    let isFull = isRefused;
    const owners = { piecePages: 1, pieceCount: 2 };
    const chain = world(owners, () => !isFull);
    const disk = chain.disks[1]!;
    const { open, opened } = gate();
    const allocate = disk.format.allocate.bind(disk.format);
    disk.format.allocate = async (...range) => {
      await opened;
      return await allocate(...range);
    };
    const written = write(disk, PAGE, whole(77));
    await quiet();
    for (const page of [5, 6]) await finish(chain, pageOf(disk, page)); // its owner is forgotten
    await finish(chain, pageOf(disk, 0, 3)); // and found out with those of its neighbours
    open();
    isFull = false;
    await finish(chain, written);
    await finish(chain, disk.target.sync());
    const { answer } = await finish(chain, pageOf(disk, 1));
    expect(answer.equals(whole(77))).toBe(true);
  });
});

describe('a disk that lets go of its base', () => {
  it('waits for those who read it, and finds everything in itself', async () => {
    const chain = world();
    const disk = chain.disks[1]!;
    const reading = pageOf(disk, 0);
    await quiet();
    let isAlone = false;
    const leaving = disk.target.pages.chain?.standAlone().then(() => {
      isAlone = true;
    });
    await quiet();
    expect(isAlone).toBe(false);
    await finish(chain, reading);
    await leaving;
    expect(isAlone).toBe(true);
    const { reads } = await finish(chain, pageOf(disk, 0));
    expect(reads.bottom).toBe(1); // the shared page is not looked for any more
  });
});
