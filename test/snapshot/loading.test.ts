import fs from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import type { SnapshotLoader } from '../../src/snapshot/loader.ts';
import { MISS } from '../../src/tmem/layer.ts';
import { pageOf } from '../tmem/page-content.ts';
import { fc } from '../tools/seed.ts';
import {
  contentOf,
  fill,
  load,
  makeImage,
  makePlace,
  PAGE,
  type Place,
  pagesHeld,
  save,
  serve,
  startLoading,
  stepping,
  upTo,
} from './fixture.ts';

const PAGES = upTo(200);
const dst = Buffer.alloc(PAGE);

let place: Place;

beforeEach(() => {
  place = makePlace();
});

async function saveSome(pages: readonly number[] = PAGES): Promise<void> {
  const served = await serve(place);
  fill(served, pages);
  await save(place, served);
}

describe('a page that is changed while a snapshot is loaded', () => {
  it('is never given its old content again', async () => {
    await saveSome();
    const change = fc.record({
      first: fc.nat(PAGES.length - 1),
      count: fc.integer({ min: 1, max: 20 }),
      isCached: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 60 }), async (changes) => {
        const served = await serve(place, ['disk.raw'], 2 ** 22);
        const cache = served.images[0]?.cache;
        if (cache === undefined) throw new Error('nothing is served');
        const changed = new Set<number>();
        let loader: SnapshotLoader | undefined;
        let turn = 0;
        const turns = stepping(() => {
          const next = turn++ % 3 === 0 ? changes.shift() : undefined;
          if (next === undefined) return;
          loader?.noteChange(0, next.first, next.count);
          cache.flush(next.first, next.count);
          for (let page = next.first; page < next.first + next.count; page++) {
            changed.add(page);
            if (next.isCached) cache.put(page, pageOf(PAGE, 'half', page + 1000), 0);
          }
        });
        ({ loader } = await startLoading(place, served, { turns }));
        await loader.finished;
        expect(loader.state).toBe('done');
        for (const page of changed) {
          if (cache.get(page, dst, 0) === MISS) continue;
          expect(dst.equals(pageOf(PAGE, 'half', page + 1000))).toBe(true);
        }
        const unchanged = PAGES.filter((page) => !changed.has(page));
        expect(pagesHeld(served, unchanged)).toEqual(unchanged);
      }),
      { numRuns: 30 },
    );
  });

  it('before its turn comes is left out and counted; so is one that is cached', async () => {
    await saveSome();
    const served = await serve(place);
    fill(served, upTo(3));
    const { loader, log } = await startLoading(place, served);
    loader.noteChange(0, 10, 5);
    loader.noteChange(1, 20, 5); // no such image
    await loader.finished;
    expect(loader.statistics).toMatchObject({
      loaded: PAGES.length - 8,
      skippedChanged: 5,
      skippedPresent: 3,
    });
    expect(pagesHeld(served, upTo(20))).toEqual([...upTo(10), 15, 16, 17, 18, 19]);
    expect(log).toEqual([expect.stringMatching(/^192 pages .*; left out: 5 changed meanwhile$/)]);
  });
});

describe('loading a snapshot', () => {
  it('ends when the memory is full, without pushing out what is there', async () => {
    const pages = upTo(2500);
    await saveSome(pages);
    const served = await serve(place, ['disk.raw'], 2 ** 20);
    const own = upTo(20).map((page) => 90_000 + page);
    fill(served, own);
    const { loader, log } = await load(place, served);
    expect(loader.state).toBe('full');
    expect(loader.statistics.loaded).toBeGreaterThan(100);
    expect(loader.statistics.loaded).toBeLessThan(pages.length);
    expect(served.tmem.layers.at(-1)?.statistics.evictedForCapacity).toBe(0);
    // A get would copy pages up, and so push others out.
    expect(own.filter((page) => served.images[0]?.cache.has(page))).toEqual(own);
    expect(log).toEqual([expect.stringContaining(', until the memory was full')]);
  });

  it('ends when there are as many same-filled pages as may be, and pushes none of them out', async () => {
    const ofOneWord = upTo(2500).map((page) => 5 * page + 1);
    await saveSome(ofOneWord);
    const served = await serve(place, ['disk.raw'], 2 ** 20);
    const zcache = served.tmem.layers.at(-1);
    const { loader } = await load(place, served);
    expect(loader.state).toBe('full');
    expect(zcache?.usage().filledPages).toBeLessThan(zcache?.usage().filledPagesMax ?? 0);
    expect(zcache?.statistics.evictedForFilledCap).toBe(0);
  });

  it('ends when others push pages out', async () => {
    await saveSome(upTo(2500));
    const served = await serve(place, ['disk.raw'], 2 ** 20);
    let turn = 0;
    const turns = stepping(() => {
      if (++turn === 50)
        fill(
          served,
          upTo(1000).map((page) => 50_000 + page),
        );
    });
    const { loader } = await load(place, served, { turns });
    expect(loader.state).toBe('full');
    expect(loader.statistics.loaded).toBeLessThanOrEqual(50);
  });

  it.each(['is filled up to it', 'pushes out its own pages', 'gives some up for a lower one'])(
    'goes on with other images when one that has a cap %s',
    async (which) => {
      makeImage(place, 'other.raw');
      const both = ['disk.raw', 'other.raw'];
      const saved = await serve(place, both, 2 ** 24, 'zcache by s3fifo-cw and native lz4');
      fill(saved, PAGES);
      await save(place, saved);
      const served = await serve(place, both, 2 ** 24, 'zcache by s3fifo-cw and native lz4');
      const [capped] = served.images;
      const account = capped?.cache.pool.account;
      account?.setShare({ capBytes: 20 * PAGE });
      let next = 90_000;
      const turns = stepping(() => {
        next++;
        if (which.startsWith('pushes')) capped?.cache.put(next, contentOf(next), 0);
        if (!which.startsWith('gives') || next < 90_030) return;
        account?.setShare({ capBytes: 2 * PAGE });
        served.tmem.trimToCaps(64);
      });
      const { loader, log } = await load(place, served, { turns });
      expect(loader.state).toBe('done');
      expect(pagesHeld(served, PAGES, 1)).toEqual(PAGES);
      expect(account?.usedBytes).toBeLessThanOrEqual(20 * PAGE);
      expect(loader.statistics.skippedAtCap).toBeGreaterThan(20);
      expect(log).toEqual([expect.stringMatching(/left out: \d+ above the caps of their images$/)]);
      const evicted = served.tmem.layers.at(-1)?.statistics.evictedForCapacity ?? 0;
      expect(evicted > 0).toBe(!which.startsWith('is'));
    },
  );

  it('ends when memory is being taken back', async () => {
    await saveSome();
    const served = await serve(place);
    let count = 0;
    const turns = stepping(() => {
      if (++count === 50) served.tmem.shrink(1);
    });
    const { loader } = await load(place, served, { turns });
    expect(loader.state).toBe('full');
    expect(loader.statistics.loaded).toBeLessThan(PAGES.length);
  });

  it('into a frozen stack ends at once', async () => {
    await saveSome();
    const served = await serve(place);
    served.tmem.freeze();
    const { loader } = await load(place, served);
    expect([loader.state, loader.statistics.loaded]).toEqual(['full', 0]);
  });

  it('ends when it is stopped, and not later', async () => {
    await saveSome();
    const served = await serve(place);
    let loader: SnapshotLoader | undefined;
    const turns = stepping(() => {
      if (loader?.statistics.loaded === 30) loader.stop();
    });
    const loading = await startLoading(place, served, { turns });
    loader = loading.loader;
    await loader.finished;
    expect([loader.state, loader.statistics.loaded]).toEqual(['stopped', 30]);
    expect(pagesHeld(served, PAGES).length).toBe(30);
  });

  it('ends with a sentence when the pool it goes to is destroyed', async () => {
    await saveSome();
    const served = await serve(place);
    const { loader, log } = await startLoading(place, served);
    served.images[0]?.cache.pool.destroy();
    await loader.finished;
    expect([loader.state, log.length]).toEqual(['stopped', 1]);
  });

  it('leaves no file open, however it ends, and nothing that a process under way writes', async () => {
    await saveSome();
    const own = `${place.snapshotPath}.tmp-${process.pid}`;
    fs.writeFileSync(own, '');
    const openFiles = () =>
      fs.readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return fs.readlinkSync(`/proc/self/fd/${fd}`) === place.snapshotPath;
        } catch {
          return false; // that of the directory itself
        }
      });
    const served = await serve(place);
    for (const [pageBytes, state] of [
      [PAGE, 'done'],
      [2 * PAGE, 'cold'],
    ] as const) {
      const { loader } = await load(place, served, { pageBytes });
      expect([loader.state, openFiles()]).toEqual([state, []]);
      loader.stop();
      expect(loader.state).toBe(state);
    }
    fs.truncateSync(place.snapshotPath, 0);
    await load(place, served);
    expect(openFiles()).toEqual([]);
    expect(fs.existsSync(own)).toBe(true);
  });

  it('gives others a turn between any two pages when the clock says so', async () => {
    await saveSome();
    let turnCount = 0;
    const turns = stepping(() => turnCount++);
    await load(place, await serve(place), { turns });
    expect(turnCount).toBeGreaterThanOrEqual(PAGES.length);
  });
});
