import fs from 'node:fs';
import { open } from 'node:fs/promises';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { TmemError } from '../../src/lib/errors.ts';
import type { CreateFile } from '../../src/snapshot/replacement.ts';
import { stampFile } from '../../src/storage/file-stamp.ts';
import { until } from '../tools/until.ts';
import {
  contentOf,
  fill,
  load,
  makeImage,
  makePlace,
  type Place,
  pagesHeld,
  save,
  serve,
  stepping,
  upTo,
} from './fixture.ts';

let place: Place;

beforeEach(() => {
  place = makePlace();
});

const filesThere = () => fs.readdirSync(place.directory).sort();

/** Files whose writes go through `write`, which may throw instead. */
function filesThat(write: (length: number) => number): CreateFile {
  return async (path) => {
    const file = await open(path, 'wx', 0o600);
    return {
      write: (buffer, offset, length, at) => file.write(buffer, offset, write(length), at),
      sync: () => file.sync(),
      close: () => file.close(),
    };
  };
}

/** Stamps files, but those of these names never. */
function hangingFor(names: readonly string[]): typeof stampFile {
  return (file) =>
    names.some((name) => file.endsWith(name)) ? new Promise(() => undefined) : stampFile(file);
}

/** Resolves when `count` waits have a limit of time. */
const untilTimers = (count: number) => until(() => vi.getTimerCount() === count);

async function saveFirst(): Promise<Buffer> {
  const served = await serve(place);
  fill(served, upTo(10));
  await save(place, served);
  return fs.readFileSync(place.snapshotPath);
}

/** Time stands still from here on, and two of three images are on disks that are to hang. */
async function serveWithHung() {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const hung = ['hung-1.raw', 'hung-2.raw'];
  for (const name of hung) makeImage(place, name);
  const served = await serve(place, [...hung, 'disk.raw']);
  fill(served, upTo(10));
  return { hung, served };
}

describe('saving', () => {
  it('on a full disk leaves the old snapshot, at whichever write it fails', async () => {
    const older = await saveFirst();
    const served = await serve(place);
    fill(served, upTo(1500));
    for (let failing = 0; failing < 6; failing++) {
      let writes = 0;
      const createFile = filesThat((length) => {
        if (writes++ < failing) return length;
        throw Object.assign(new Error('full'), { code: 'ENOSPC' });
      });
      await expect(save(place, served, { createFile })).rejects.toMatchObject({
        kind: 'no-space',
        message: expect.stringContaining('make room there'),
      });
      expect(fs.readFileSync(place.snapshotPath).equals(older)).toBe(true);
      expect(filesThere()).toEqual(['cache.snapshot', 'disk.raw']);
    }
  });

  it('at the end of the service leaves out images whose disks hang, all in one time, and saves the others', async () => {
    const { hung, served } = await serveWithHung();
    const stamp = hangingFor(hung);
    const saving = save(place, served, { isStopped: true, stamp });
    await untilTimers(3);
    await untilTimers(2);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await saving).toMatchObject({ pages: 10, leftOut: hung, changed: [] });
  });

  it('is not held up by disks that hang when all is written', async () => {
    const { hung, served } = await serveWithHung();
    let isWritten = false;
    const later = hangingFor(hung);
    const saving = save(place, served, {
      isStopped: true,
      stamp: (file) => (isWritten ? later : stampFile)(file),
      createFile: filesThat((length) => {
        isWritten = true;
        return length;
      }),
    });
    await until(() => isWritten);
    await untilTimers(3);
    await untilTimers(2);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await saving).toMatchObject({ pages: 30, leftOut: [], changed: hung });
  });

  it('ends where nothing is written any more', async () => {
    const served = await serve(place);
    const createFile = filesThat(() => 0);
    await expect(save(place, served, { createFile })).rejects.toMatchObject({ kind: 'io' });
    expect(filesThere()).toEqual(['disk.raw']);
  });

  it('brings all to the disk before the new snapshot takes the place of the old one', async () => {
    const older = await saveFirst();
    const done: string[] = [];
    const createFile: CreateFile = async (path) => {
      const file = await open(path, 'wx', 0o600);
      return {
        write: (buffer, offset, length, at) => {
          done.push('write');
          return file.write(buffer, offset, length, at);
        },
        sync: async () => {
          done.push('sync');
          expect(fs.readFileSync(place.snapshotPath).equals(older)).toBe(true);
          await file.sync();
        },
        close: () => file.close(),
      };
    };
    await save(place, await serve(place), { createFile });
    expect([done.indexOf('sync'), done.length > 1]).toEqual([done.length - 1, true]);
  });

  it.each(['sync', 'close'] as const)(
    'that fails at the %s of the new snapshot leaves the old one, and the next may come',
    async (call) => {
      const older = await saveFirst();
      const served = await serve(place);
      fill(served, upTo(20));
      const createFile: CreateFile = async (path) => {
        const file = await filesThat((length) => length)(path);
        const fail = async () => {
          await file.close();
          throw Object.assign(new Error('lost'), { code: 'EIO' });
        };
        return { ...file, [call]: fail };
      };
      await expect(save(place, served, { createFile })).rejects.toMatchObject({
        kind: 'io',
        message: expect.stringContaining(`cannot save the cache to "${place.snapshotPath}"`),
      });
      expect(fs.readFileSync(place.snapshotPath).equals(older)).toBe(true);
      expect(filesThere()).toEqual(['cache.snapshot', 'disk.raw']);
      expect(await save(place, served)).toMatchObject({ pages: 20 });
    },
  );

  it('goes on where a write was short', async () => {
    const served = await serve(place);
    fill(served, upTo(1500));
    await save(place, served, { createFile: filesThat((length) => Math.min(length, 70_001)) });
    const after = await serve(place);
    await load(place, after);
    expect(pagesHeld(after, upTo(1500)).length).toBe(1500);
  });

  it('that is ended by its signal leaves the old snapshot and nothing else', async () => {
    const older = await saveFirst();
    const served = await serve(place);
    fill(served, upTo(1500));
    const ending = new AbortController();
    const { signal } = ending;
    const onProgress = () => ending.abort();
    await expect(save(place, served, { signal, onProgress })).rejects.toMatchObject({
      kind: 'shutdown',
    });
    expect(fs.readFileSync(place.snapshotPath).equals(older)).toBe(true);
    expect(filesThere()).toEqual(['cache.snapshot', 'disk.raw']);
  });

  it('that waits for a disk that hangs is ended by its signal too', async () => {
    const served = await serve(place);
    const ending = new AbortController();
    const { signal } = ending;
    const settle = () => {
      setImmediate(() => ending.abort());
      return new Promise<void>(() => undefined);
    };
    const images = served.images.map((image) => ({ ...image, settle }));
    for (const _ of ['meanwhile', 'before it began']) {
      await expect(save(place, served, { images, signal })).rejects.toMatchObject({
        kind: 'shutdown',
      });
    }
    expect(filesThere()).toEqual(['disk.raw']);
  });

  it('removes what a process that is gone did not finish, at the next start or save', async () => {
    const served = await serve(place);
    const gone = `${place.snapshotPath}.tmp-4194999`; // no process has an id so high
    const living = `${place.snapshotPath}.tmp-${process.ppid}`;
    const other = `${place.snapshotPath}.tmp-x`;
    for (const path of [gone, living, other]) fs.writeFileSync(path, '');
    await load(place, served);
    expect(filesThere().length).toBe(3);
    fs.writeFileSync(`${place.snapshotPath}.tmp-${process.pid}`, ''); // of a namesake
    fs.writeFileSync(gone, '');
    await save(place, served);
    expect(filesThere().length).toBe(4);
  });

  it('goes on once at a time', async () => {
    const served = await serve(place);
    fill(served, upTo(10));
    const both = await Promise.allSettled([save(place, served), save(place, served)]);
    const failures = both.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
    expect(failures).toEqual([expect.any(TmemError)]);
    expect(failures[0]).toMatchObject({ kind: 'busy' });
    await save(place, served);
  });

  it('where there is no such directory says so', async () => {
    const path = `${place.directory}/none/cache.snapshot`;
    for (const _ of ['first', 'again']) {
      await expect(save(place, await serve(place), { path })).rejects.toMatchObject({
        kind: 'not-found',
      });
    }
  });

  it('while pages come and go saves each as it is', async () => {
    const served = await serve(place, ['disk.raw'], 2 ** 22);
    const pages = upTo(5000);
    fill(served, upTo(3000));
    let next = 3000;
    const churn = (count: number) => {
      for (let i = 0; i < count; i++) {
        const page = next++ % pages.length;
        served.images[0]?.cache.put(page, contentOf(page), 0);
        served.images[0]?.cache.flush((page * 7) % pages.length, 1);
      }
    };
    const createFile = filesThat((length) => {
      churn(2000);
      return length;
    });
    let turnCount = 0;
    const turns = stepping(() => {
      turnCount++;
      churn(1);
    });
    const saved = await save(place, served, { turns, createFile });
    expect(turnCount).toBeGreaterThan(100);
    expect(saved.pages).toBeGreaterThan(100);
    const after = await serve(place);
    const { loader } = await load(place, after);
    expect(loader.statistics).toMatchObject({ skippedDamaged: 0 });
    expect(loader.statistics.loaded + loader.statistics.skippedPresent).toBe(saved.pages);
    expect(pagesHeld(after, pages).length).toBe(loader.statistics.loaded);
  });

  it('beside the load of the last snapshot takes its place', async () => {
    await saveFirst();
    const served = await serve(place);
    fill(served, upTo(30));
    const [{ loader }] = await Promise.all([load(place, served), save(place, served)]);
    expect(loader.state).toBe('done');
    const after = await serve(place);
    await load(place, after);
    expect(pagesHeld(after, upTo(30)).length).toBe(30);
  });
});
