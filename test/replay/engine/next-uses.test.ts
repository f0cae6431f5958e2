import { readlinkSync } from 'node:fs';
import { expect, it } from 'vitest';
import {
  closeNextUses,
  keptNextUsesOf,
  NextUsesReader,
  nextUsesOf,
} from '../../../src/replay/engine/next-uses.ts';
import type { PageStream } from '../../../src/replay/engine/page-stream.ts';
import { simulate } from '../../../src/replay/engine/simulate.ts';
import { goldenStream, streamOfKeys } from './golden-streams.ts';

const NEVER = 0x7fff_ffff;

/** Longer than what is found at once. */
function longStream(): Promise<PageStream> {
  const keys = Array.from({ length: 1_300_000 }, (_, i) => (i * i) % 9973);
  return streamOfKeys('long', keys);
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Int32Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);

it('the next use of a page is where it comes again, or never', async () => {
  const stream = await streamOfKeys('short', [5, 6, 5, 5, 7]);
  expect([...nextUsesOf(stream)]).toEqual([2, NEVER, 3, NEVER, NEVER]);
});

it('next uses are none across a write that drops the page', async () => {
  const stream = await streamOfKeys('short', [5, 6, 5, 6, 5]);
  const drops = { ...stream, ops: 'writes-invalidate', writeBits: Int32Array.of(0b00100) } as const;
  expect([...nextUsesOf(drops)]).toEqual([NEVER, 3, 4, NEVER, NEVER]);
});

it('next uses in a file are those in memory, whatever is read of them', async () => {
  const stream = await longStream();
  const all = nextUsesOf(stream);
  const kept = keptNextUsesOf(stream, 1000);
  expect('fd' in kept).toBe(true);
  const reader = new NextUsesReader(kept);
  for (const [from, to] of [
    [0, 10],
    [1_048_570, 1_048_590],
    [0, all.length],
    [7, 7],
  ] as const) {
    expect(Buffer.compare(bytesOf(reader.read(from, to)), bytesOf(all.subarray(from, to)))).toBe(0);
  }
  closeNextUses(kept);
});

it('belady misses the same with a future in a file, which has no name any more', async () => {
  const stream = await goldenStream('phases');
  const run = { policy: 'belady', capacityPages: 2000, warmupRequests: 12_345 };
  const nextUses = keptNextUsesOf(stream, 0);
  if (!('fd' in nextUses)) throw new Error('not in a file');
  expect(readlinkSync(`/proc/self/fd/${nextUses.fd}`)).toMatch(/tmem-next-uses-\S+ \(deleted\)$/);
  const { elapsedMs: _, ...fromFile } = simulate(stream, run, { nextUses });
  const { elapsedMs: __, ...fromMemory } = simulate(stream, run);
  expect(fromFile).toEqual(fromMemory);
  closeNextUses(nextUses);
});
