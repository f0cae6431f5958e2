import fs from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import { PAGES_PER_OBJECT } from '../../src/tmem/cleancache.ts';
import { createEncodedPage, FILLED, LZ4, RAW } from '../../src/tmem/layer.ts';
import {
  fill,
  load,
  makeImage,
  makePlace,
  PAGE,
  type Place,
  pagesHeld,
  save,
  serve,
  upTo,
} from './fixture.ts';

let place: Place;

beforeEach(() => {
  place = makePlace();
});

describe('a snapshot', () => {
  it('brings back pages of every encoding, in every object, as they were', async () => {
    const pages = [...upTo(500), PAGES_PER_OBJECT, 3 * PAGES_PER_OBJECT + 7];
    const before = await serve(place);
    fill(before, pages);
    const saved = await save(place, before);
    expect(saved).toMatchObject({ pages: pages.length, leftOut: [], changed: [] });
    expect(saved.bytes).toBe(fs.statSync(place.snapshotPath).size);

    const after = await serve(place);
    const { loader, log } = await load(place, after);
    expect(pagesHeld(after, pages)).toEqual(pages);
    expect(loader.state).toBe('done');
    expect(loader.statistics).toMatchObject({ loaded: pages.length, skippedDamaged: 0 });
    expect(log).toEqual([`${pages.length} pages were loaded from "${place.snapshotPath}"`]);
  });

  it('keeps a page in the encoding it was held in', async () => {
    const before = await serve(place, ['disk.raw'], 2 ** 24, 'zcache by lru and lz4-napi');
    fill(before, upTo(5));
    await save(place, before);
    const after = await serve(place, ['disk.raw'], 2 ** 24, 'zcache by lru and lz4-napi');
    await load(place, after);
    const page = createEncodedPage();
    const encodings = upTo(5).map((number) => {
      after.images[0]?.cache.pool.peek(0, number, page);
      return page.encoding;
    });
    expect(encodings).toEqual([FILLED, FILLED, LZ4, LZ4, RAW]);
    // Whether a raw page can be encoded is not known; nothing else was tried again.
    expect(after.tmem.layers[0]?.statistics.originalBytes).toBe(PAGE);
  });

  it('fills several segments, and tells how far it is', async () => {
    const pages = upTo(2500);
    const before = await serve(place);
    fill(before, pages);
    const progress: number[] = [];
    await save(place, before, { onProgress: (done) => progress.push(done.pages) });
    expect(progress.length).toBeGreaterThan(2);
    expect(progress.at(-1)).toBe(pages.length);
    const after = await serve(place);
    await load(place, after);
    expect(pagesHeld(after, pages)).toEqual(pages);
  });

  it('keeps images apart, also when they are served in another order', async () => {
    makeImage(place, 'other.raw');
    const before = await serve(place, ['disk.raw', 'other.raw']);
    fill({ ...before, images: before.images.slice(0, 1) }, upTo(10));
    fill({ ...before, images: before.images.slice(1) }, [20, 21]);
    await save(place, before);
    const after = await serve(place, ['other.raw', 'disk.raw']);
    await load(place, after);
    expect(pagesHeld(after, upTo(30), 0)).toEqual([20, 21]);
    expect(pagesHeld(after, upTo(30), 1)).toEqual(upTo(10));
  });

  it('of nothing can be loaded', async () => {
    const served = await serve(place);
    expect(await save(place, served)).toMatchObject({ pages: 0 });
    expect((await load(place, served)).loader.statistics.loaded).toBe(0);
  });

  it('can be read by its owner alone', async () => {
    await save(place, await serve(place));
    expect(fs.statSync(place.snapshotPath).mode & 0o777).toBe(0o600);
  });

  it('that is not there is no failure', async () => {
    const { loader, log } = await load(place, await serve(place));
    expect([loader.state, log]).toEqual(['cold', []]);
  });
});
