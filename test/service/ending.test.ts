import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type EndingParts, endInOrder } from '../../src/service/ending.ts';

const SECOND_MS = 1000;
const LIMIT_MS = 10 * SECOND_MS;
const DRAIN_MS = 60 * SECOND_MS;

const never = <Result>(): Promise<Result> => new Promise<Result>(() => undefined);
/** Of a server that two clients hold up. */
const statistics = { connections: 2 };
const within = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** Parts that end at once, but for those given; `log` has what was said, `done` what was ended. */
function makeParts(given: Partial<EndingParts> = {}) {
  const log: string[] = [];
  const done: string[] = [];
  const ending = (name: string) => ({
    stop: async () => {
      done.push(name);
    },
  });
  const parts = {
    log: { info: () => undefined, warn: (message: string) => log.push(message) },
    drainMsMax: DRAIN_MS,
    server: { ...ending('server'), statistics },
    exports: [],
    warmRestart: { ...ending('loading'), saveAtEnd: async () => undefined },
    hasStarted: true,
    fullSwaps: { stop: () => undefined },
    failedRequests: { stop: () => undefined },
    recordings: ending('recording'),
    baseCopies: ending('copies'),
    fileNames: ending('names'),
    ...given,
  } as EndingParts;
  return { parts, log, done };
}

it('disks that hang hold up the end of a service side by side, not one after the other', async () => {
  const saved = vi.fn(() => within(LIMIT_MS));
  const { parts, log } = makeParts({
    server: { stop: () => within(LIMIT_MS), statistics },
    warmRestart: { stop: never, saveAtEnd: saved },
    recordings: { stop: never },
    baseCopies: { stop: (ms) => within(ms) },
    fileNames: { stop: (ms) => within(ms) },
  });
  let isOver = false;
  void endInOrder(parts).then(() => {
    isOver = true;
  });
  // Clients and loading; the recording and copies; the snapshot and the last look at the names.
  await vi.advanceTimersByTimeAsync(3 * LIMIT_MS - 1);
  expect(isOver).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(isOver).toBe(true);
  expect(saved).toHaveBeenCalledTimes(1);
  expect(log).toEqual([
    'waiting for replies to reach 2 clients, for at most 10 s',
    'the loading of the snapshot did not end what was under way within 10 s; look at its disk',
    'the recording did not end what was under way within 10 s; look at its disk',
  ]);
});

it('a base is let go of when no client is left, and names are looked at when all is written', async () => {
  let clientsGone = (): void => undefined;
  const server = {
    statistics,
    stop: () =>
      new Promise<void>((resolve) => {
        clientsGone = resolve;
      }),
  };
  const { parts, done } = makeParts({ server, recordings: { stop: never } });
  void endInOrder(parts);
  await vi.advanceTimersByTimeAsync(1);
  expect(done).toEqual(['loading']);
  clientsGone();
  await vi.advanceTimersByTimeAsync(LIMIT_MS - 2);
  expect(done).toEqual(['loading', 'copies']);
  await vi.advanceTimersByTimeAsync(2);
  expect(done).toEqual(['loading', 'copies', 'names']);
});

it('a service that never started saves nothing', async () => {
  const saveAtEnd = vi.fn(async () => undefined);
  const { parts } = makeParts({
    warmRestart: { stop: async () => undefined, saveAtEnd },
    hasStarted: false,
  });
  await endInOrder(parts);
  expect(saveAtEnd).not.toHaveBeenCalled();
});

it('clients who take their replies soon are not told of', async () => {
  const { parts, log } = makeParts({ server: { stop: () => within(SECOND_MS), statistics } });
  void endInOrder(parts);
  await vi.advanceTimersByTimeAsync(LIMIT_MS);
  expect(log).toEqual([]);
});
