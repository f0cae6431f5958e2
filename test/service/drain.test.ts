import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { closeImages } from '../../src/service/drain.ts';

const never = new Promise<void>(() => undefined);

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

it('closing images takes no longer than it may, though a sync and a close hang one after the other', async () => {
  const closing = [
    { image: { name: 'hung.raw', close: () => never }, underWay: undefined },
    { image: { name: 'busy.raw', close: () => never }, underWay: never },
  ];
  let failures: unknown[] | undefined;
  void closeImages(closing, 1000).then((result) => {
    failures = result;
  });
  await vi.advanceTimersByTimeAsync(999);
  expect(failures).toBeUndefined();
  await vi.advanceTimersByTimeAsync(1);
  const sentence = (name: string) =>
    `"${name}" did not end what was under way within 1 s; look at its disk`;
  expect(failures).toEqual([
    expect.objectContaining({ message: sentence('hung.raw') }),
    expect.objectContaining({ message: sentence('busy.raw') }),
  ]);
});

it('an image whose neighbour hangs is closed, and not before its own sync has ended', async () => {
  let syncEnded = (): void => undefined;
  const sync = new Promise<void>((resolve) => {
    syncEnded = resolve;
  });
  const close = vi.fn(async () => undefined);
  const done = closeImages(
    [
      { image: { name: 'hung.raw', close: () => never }, underWay: never },
      { image: { name: 'good.raw', close }, underWay: sync },
    ],
    1000,
  );
  await vi.advanceTimersByTimeAsync(500);
  expect(close).not.toHaveBeenCalled();
  syncEnded();
  await vi.advanceTimersByTimeAsync(0);
  expect(close).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(500);
  expect(await done).toHaveLength(1);
});
