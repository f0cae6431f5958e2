import { randomFillSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { MemoryStorage } from '../../storage/memory-storage.ts';
import { exportOn, KIB, MIB, makeMemory, read } from '../fixture.ts';

const PAGE = 4 * KIB;
const MEMORY = 24 * MIB;
const HOT_PAGES = 1000;
/** Of the disk; the scan reads what is behind it. */
const HOT_BYTES = 16 * MIB;
const disk = randomFillSync(Buffer.alloc(HOT_BYTES + 10 * MEMORY));

describe.each([0, 0.5])('where %d of the memory is hot, a sequential scan', (hotFraction) => {
  it.each([4 * KIB, 64 * KIB, 256 * KIB])('by %d bytes leaves a hot set its hits', async (step) => {
    const memory = makeMemory({ memoryBytes: MEMORY, hotFraction });
    const parts = exportOn(new MemoryStorage(disk), memory, true);
    const { statistics, readAhead } = parts.target.reads;
    /** Reads pages that lie apart, in an order without runs; answers the share of hits. */
    const readHotSet = async (): Promise<number> => {
      const before = statistics.readHits;
      const stride = HOT_BYTES / PAGE / HOT_PAGES;
      for (let i = 0; i < HOT_PAGES; i++) {
        const page = Math.floor(((i * 619) % HOT_PAGES) * stride);
        await read(parts, page * PAGE, PAGE);
      }
      return (statistics.readHits - before) / HOT_PAGES;
    };
    for (let round = 0; round < 4; round++) await readHotSet();
    const before = await readHotSet();
    expect(before).toBe(1);
    for (let at = HOT_BYTES; at < disk.length; at += step) await read(parts, at, step);
    expect(readAhead.usedPages).toBeGreaterThan(((disk.length - HOT_BYTES) / PAGE) * 0.5);
    expect(await readHotSet()).toBeGreaterThanOrEqual(0.95 * before);
  });
});
