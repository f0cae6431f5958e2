import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { BaseImages } from '../../src/export/base-images.ts';
import { BaseCopies } from '../../src/service/base-copies.ts';
import type { Served } from '../../src/service/exports.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

it('ending the copies takes no longer than it may: one that hangs is told, another lets go of its base', async () => {
  const dropBacking = vi.fn(async () => undefined);
  const target = (name: string, copyUp: () => Promise<number>) => {
    const image = { virtualSizeBytes: 1, backing: {}, copyUp, sync: async () => undefined };
    return { name, isReadOnly: false, image: { ...image, dropBacking }, pages: {} };
  };
  const disk = { copyBytesPerSecond: 1 };
  const served = [
    { disk, target: target('hung', () => new Promise(() => undefined)) },
    { disk, target: target('good', async () => 0) },
  ] as unknown as Served[];
  const baseImages = { hasOtherUsers: () => true } as unknown as BaseImages;
  const warn = vi.fn<(message: string) => void>();
  const log = { info: () => undefined, warn };
  const copies = new BaseCopies({ served, baseImages, log });
  copies.start();
  await vi.advanceTimersByTimeAsync(0); // the good one is complete
  let isOver = false;
  void copies.stop(1000).then(() => {
    isOver = true;
  });
  await vi.advanceTimersByTimeAsync(999);
  expect([isOver, dropBacking.mock.calls.length]).toEqual([false, 1]);
  await vi.advanceTimersByTimeAsync(1);
  expect(isOver).toBe(true);
  expect(warn.mock.calls).toEqual([
    [
      'the copy of the base of export "hung" did not end what was under way within 1 s; ' +
        'look at its disk',
    ],
  ]);
});
