import fs from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { temporaryDirectory } from '../storage/temporary-files.ts';
import {
  fill,
  load,
  makeImage,
  PAGE,
  type Place,
  pagesHeld,
  placeIn,
  save,
  serve,
  upTo,
} from './fixture.ts';

const PAGES = upTo(20);

let place: Place;
let imagePath: string;

beforeEach(() => {
  place = placeIn(temporaryDirectory());
  imagePath = makeImage(place, 'disk.raw');
});

async function saveSome(isStopped = false): Promise<void> {
  fs.utimesSync(imagePath, 1e9, 1e9); // so that it can be given back exactly
  const served = await serve(place);
  fill(served, PAGES);
  await save(place, served, { isStopped });
}

async function loadAll(bootId?: string) {
  const served = await serve(place);
  const { loader, log } = await load(place, served, bootId === undefined ? {} : { bootId });
  return { count: pagesHeld(served, PAGES).length, loader, log };
}

describe('a page of a snapshot', () => {
  const changes: Record<string, () => void> = {
    'has grown': () => fs.appendFileSync(imagePath, Buffer.alloc(512)),
    'was written': () => {
      const fd = fs.openSync(imagePath, 'r+');
      fs.writeSync(fd, 'x', 5000);
      fs.closeSync(fd);
    },
    'was written, and got its old time of modification back': () => {
      const fd = fs.openSync(imagePath, 'r+');
      fs.writeSync(fd, 'x', 5000);
      fs.futimesSync(fd, 1e9, 1e9);
      fs.closeSync(fd);
    },
    'got another time of modification': () => fs.utimesSync(imagePath, 1, 1),
    'was replaced by a copy': () => {
      fs.copyFileSync(imagePath, `${imagePath}.copy`);
      fs.renameSync(`${imagePath}.copy`, imagePath);
    },
  };

  for (const [what, change] of Object.entries(changes)) {
    it(`is not used when the image ${what}`, async () => {
      await saveSome();
      change();
      const { count, loader, log } = await loadAll();
      expect([count, loader.state]).toEqual([0, 'cold']);
      expect(loader.statistics.skippedStale).toBe(PAGES.length);
      expect(log).toEqual([expect.stringContaining('no image that is served is in it unchanged')]);
    });
  }

  it('is used when another image has changed', async () => {
    const otherPath = makeImage(place, 'other.raw');
    const before = await serve(place, ['other.raw', 'disk.raw']);
    fill(before, PAGES);
    await save(place, before);
    fs.appendFileSync(otherPath, Buffer.alloc(512));
    const after = await serve(place, ['other.raw', 'disk.raw']);
    const { loader } = await load(place, after);
    expect([0, 1].map((image) => pagesHeld(after, PAGES, image).length)).toEqual([0, 20]);
    expect(loader.statistics).toMatchObject({ loaded: 20, skippedStale: 20, skippedDamaged: 0 });
  });

  it('that was saved while serving is good until the machine is booted again', async () => {
    await saveSome(false);
    expect((await loadAll()).count).toBe(PAGES.length);
    const { count, log } = await loadAll('another-boot');
    expect(count).toBe(0);
    expect(log).toEqual([expect.stringContaining('the machine was booted since')]);
    expect((await loadAll('')).count).toBe(0);
  });

  it('that was saved at a clean stop outlives a boot, but not one in the middle of service', async () => {
    await saveSome(true);
    expect((await loadAll('second-boot')).count).toBe(PAGES.length);
    expect((await loadAll('second-boot')).count).toBe(PAGES.length);
    expect((await loadAll('third-boot')).count).toBe(0);
  });

  it('is good for this boot alone once a service with other pages has served its image', async () => {
    await saveSome(true);
    const served = await serve(place);
    const { loader } = await load(place, served, { bootId: 'second-boot', pageBytes: 8192 });
    expect(loader.state).toBe('cold');
    expect((await loadAll('third-boot')).count).toBe(0);
  });

  it('is used for the same reading of its file alone, and to the end of the disk in it', async () => {
    fs.truncateSync(imagePath, 512);
    const as = async (reading: string) => {
      const served = await serve(place);
      const diskBytes = PAGES.length * PAGE;
      const images = served.images.map((image) => ({ ...image, reading, diskBytes }));
      return { ...served, images };
    };
    const before = await as('one format');
    fill(before, [...PAGES, PAGES.length]);
    expect(await save(place, before)).toMatchObject({ pages: PAGES.length + 1, changed: [] });
    for (const [reading, count] of [
      ['another format', 0],
      ['one format', PAGES.length],
    ] as const) {
      const after = await as(reading);
      await load(place, after);
      expect(pagesHeld(after, [...PAGES, PAGES.length]).length).toBe(count);
    }
    expect((await loadAll()).count).toBe(0);
  });

  it('is used only if what the image keeps in memory of its tables is in its file', async () => {
    const saveSettling = async (writing: readonly number[], isStopped = false) => {
      const served = await serve(place);
      fill(served, PAGES);
      let settled = 0;
      const settle = async () => {
        if (writing.includes(++settled)) fs.utimesSync(imagePath, settled, settled);
      };
      const images = served.images.map((image) => ({ ...image, settle }));
      const { changed } = await save(place, { ...served, images }, { isStopped });
      return [settled, changed, (await loadAll()).count];
    };
    expect(await saveSettling([1])).toEqual([2, [], PAGES.length]);
    expect(await saveSettling([1, 2])).toEqual([2, ['disk.raw'], 0]);
    expect(await saveSettling([1], true)).toEqual([0, [], PAGES.length]); // it is closed by then
  });

  it('is used once where the system does not tell its boots apart', async () => {
    await saveSome(true);
    expect((await loadAll('')).count).toBe(PAGES.length);
    expect((await loadAll('')).count).toBe(0);
  });

  it('is not used when the mark of use is damaged at both ends', async () => {
    await saveSome(true);
    const bytes = fs.readFileSync(place.snapshotPath);
    for (const at of [520, bytes.length - 4096 + 520]) bytes.writeUInt8(1, at);
    fs.writeFileSync(place.snapshotPath, bytes);
    expect((await loadAll()).count).toBe(0);
  });

  it('is not used when one end of the file says that the service was not stopped', async () => {
    await saveSome(true);
    const clean = fs.readFileSync(place.snapshotPath);
    await loadAll('second-boot');
    const inUse = fs.readFileSync(place.snapshotPath);
    const tail = clean.length - 4096;
    for (const [first, last] of [
      [clean, inUse],
      [inUse, clean],
      [inUse, Buffer.alloc(0)],
    ] as const) {
      const bytes = Buffer.concat([first.subarray(0, tail), last.subarray(tail)]);
      fs.writeFileSync(place.snapshotPath, bytes);
      expect((await loadAll('third-boot')).count).toBe(0);
    }
  });

  it('is not used when the open image is another file than the one at its path', async () => {
    await saveSome();
    const served = await serve(place);
    const images = served.images.map((image) => ({ ...image, medium: 'file:1:1' }));
    const { loader } = await load(place, { ...served, images });
    expect(loader.state).toBe('cold');
  });

  it('of a block device is never saved, nor is one of a file that was put in its place', async () => {
    const served = await serve(place);
    fill(served, PAGES);
    const device = await save(place, served, { stamp: async () => undefined });
    expect(device).toMatchObject({ pages: 0, leftOut: ['disk.raw'] });
    fs.renameSync(imagePath, path.join(place.directory, 'away'));
    expect(await save(place, served)).toMatchObject({ pages: 0, leftOut: ['disk.raw'] });
    makeImage(place, 'disk.raw');
    expect(await save(place, served)).toMatchObject({ pages: 0, leftOut: ['disk.raw'] });
  });

  it('of an image that could not be synced, or that another program has changed, is never saved', async () => {
    const served = await serve(place);
    fill(served, PAGES);
    for (const doubt of [{ isSound: () => false }, { isAsOpened: () => false }]) {
      const images = served.images.map((image) => ({ ...image, ...doubt }));
      const saved = await save(place, { ...served, images });
      expect(saved).toMatchObject({ pages: 0, leftOut: ['disk.raw'] });
    }
  });

  it('whose image changes while it is saved is not used, and that is told', async () => {
    const served = await serve(place);
    fill(served, PAGES);
    const onProgress = () => fs.utimesSync(imagePath, 1, 1);
    expect(await save(place, served, { onProgress })).toMatchObject({ changed: ['disk.raw'] });
    expect((await loadAll()).count).toBe(0);
  });
});
