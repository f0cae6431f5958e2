import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { expect, it, onTestFinished, vi } from 'vitest';
import type { BaseImages } from '../../src/export/base-images.ts';
import type { Served as ServedDisk } from '../../src/service/exports.ts';
import { WarmRestart } from '../../src/service/warm-restart.ts';
import { SnapshotLoader } from '../../src/snapshot/loader.ts';
import {
  fill,
  IMAGE_PAGES,
  makeImage,
  PAGE,
  type Place,
  pagesHeld,
  placeIn,
  type Served,
  serve,
  upTo,
} from '../snapshot/fixture.ts';
import { temporaryDirectory } from '../storage/temporary-files.ts';
import { until } from '../tools/until.ts';

const never = new Promise<never>(() => undefined);

const NAMES = ['hung.qcow2', 'good.qcow2'];

/** Two images with ten cached pages each; the first is synced by `sync`. */
async function twoImages(sync: () => Promise<void>, snapshotPath?: string) {
  const place = placeIn(temporaryDirectory());
  for (const name of NAMES) makeImage(place, name);
  const served = await serve(place, NAMES);
  fill(served, upTo(10));
  return restartOf({ ...place, ...(snapshotPath !== undefined && { snapshotPath }) }, served, sync);
}

/** Of two images that are served. */
function restartOf(place: Place, served: Served, sync: () => Promise<void>) {
  const syncs = [sync, async () => undefined];
  let finish = (): void => undefined;
  const finishes = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const disks = served.images.map(({ path, medium, name, cache }, i) => {
    const image = {
      ...{ name: path, medium, formatName: 'qcow2', isSelfContained: true, isReadOnly: false },
      ...{ counters: { sync: { failures: 0 } }, virtualSizeBytes: IMAGE_PAGES * PAGE },
      ...{ sync: syncs[i], finish: async () => finish() },
    };
    const disk = { name, image, mode: 'writethrough', share: {}, copyBytesPerSecond: undefined };
    const target = { cache, image, isSyncing: false, watchChanges: () => undefined };
    return { disk, target };
  });
  const lines: string[] = [];
  const warmRestart = new WarmRestart({
    path: place.snapshotPath,
    pageBytes: PAGE,
    tmem: served.tmem,
    served: disks as unknown as ServedDisk[],
    baseImages: { all: [] } as unknown as BaseImages,
    log: { info: (line) => lines.push(line), warn: (line) => lines.push(line) },
  });
  return { place, warmRestart, lines, finishes };
}

function withFakeTimers(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
}

/** Resolves when nothing is waited for any more but the time, by one timer. */
const onlyOneTimer = () => until(() => vi.getTimerCount() === 1);

it('a snapshot that hangs in an image when the service ends is ended, and the last one has the others', async () => {
  withFakeTimers();
  let hangs = (): void => undefined;
  const hung = new Promise<void>((resolve) => {
    hangs = resolve;
  });
  const { place, warmRestart, lines, finishes } = await twoImages(() => {
    hangs();
    return never;
  });
  const asked = warmRestart.save();
  const refused = expect(asked).rejects.toMatchObject({ kind: 'shutdown' });
  await hung;
  const saved = warmRestart.saveAtEnd();
  await refused;
  await finishes; // of the image that does not hang
  await onlyOneTimer();
  await vi.advanceTimersByTimeAsync(10_000);
  await saved;
  expect(lines).toEqual([
    expect.stringMatching(/^the pages of "hung.qcow2" are not in the snapshot/),
    expect.stringMatching(/^10 pages .* are kept in the snapshot$/),
  ]);
  expect(fs.readdirSync(place.directory).length).toBe(3); // and nothing unfinished
});

it('a snapshot whose own disk hangs when the service ends is given up, with a sentence', async () => {
  withFakeTimers();
  const { warmRestart, lines } = await twoImages(async () => undefined);
  const lstat = vi.spyOn(fs.promises, 'lstat').mockReturnValue(never);
  syncBuiltinESMExports();
  onTestFinished(() => {
    lstat.mockRestore();
    syncBuiltinESMExports();
  });
  const saved = warmRestart.saveAtEnd();
  await until(() => lstat.mock.calls.length > 0);
  await onlyOneTimer();
  await vi.advanceTimersByTimeAsync(60_000);
  await saved;
  expect(lines).toEqual([expect.stringMatching(/got no further for 60 s; look at its disk$/)]);
});

it('where no snapshot can be saved is refused at the start', async () => {
  const synced = async () => undefined;
  const directory = temporaryDirectory();
  const missing = await twoImages(synced, `${directory}/none/cache.snapshot`);
  await expect(missing.warmRestart.start()).rejects.toThrow(
    /cannot save .*ENOENT; make its directory/,
  );
  const fine = await twoImages(synced, `${directory}/cache.snapshot`);
  await fine.warmRestart.start();
  expect(fine.lines).toEqual([]);
});

it('a snapshot that is being loaded when the service ends is loaded to its end', async () => {
  const synced = async () => undefined;
  const { place, warmRestart } = await twoImages(synced);
  await warmRestart.saveAtEnd();
  const served = await serve(place, NAMES);
  const next = restartOf(place, served, synced);
  await next.warmRestart.start();
  await next.warmRestart.stop();
  expect(next.warmRestart.loader.state).toBe('done');
  for (const image of [0, 1]) expect(pagesHeld(served, upTo(10), image).length).toBe(10);
});

it('loading that takes long is ended after 5 s when the service ends', async () => {
  withFakeTimers();
  const { warmRestart } = await twoImages(async () => undefined);
  const finished = vi.spyOn(SnapshotLoader.prototype, 'finished', 'get').mockReturnValue(never);
  const stop = vi.spyOn(SnapshotLoader.prototype, 'stop');
  onTestFinished(() => {
    finished.mockRestore();
    stop.mockRestore();
  });
  void warmRestart.stop();
  await vi.advanceTimersByTimeAsync(4999);
  expect(stop).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(stop).toHaveBeenCalledTimes(1);
});
