import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { FileNames } from '../../../src/service/warnings/file-names.ts';

type NamedExport = ConstructorParameters<typeof FileNames>[0][number];

const LOOK_MS = 10_000;
const URI = 'nbd+unix:///vm1?socket=/run/nbd.sock';
const LOST =
  /^what is written to export "vm1" now has no name.*"\/vm1.raw".*nbdcopy "nbd\+unix:.*" new.raw$/;

let state: 'kept' | 'moved' | 'lost';
let lookCount: number;
let warnings: string[];

/** What the system answers. */
let nameState: () => Promise<typeof state>;

beforeEach(() => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  [state, lookCount, warnings] = ['kept', 0, []];
  nameState = async () => state;
});

function startWatch(isReadOnly = false, others: NamedExport[] = []): FileNames {
  const look = () => {
    lookCount++;
    return nameState();
  };
  const image = { files: [{ name: '/vm1.raw', nameState: look }] };
  const log = { info: () => undefined, warn: (line: string) => void warnings.push(line) };
  const names = new FileNames([...others, { name: 'vm1', isReadOnly, image }], log);
  names.start([{ name: 'vm1', uris: [URI] }]);
  return names;
}

test('a file that keeps its name is looked at every 10 s, and nothing is said', async () => {
  const names = startWatch();
  await vi.advanceTimersByTimeAsync(6 * LOOK_MS);
  expect(lookCount).toBe(6);
  await names.stop(LOOK_MS);
  await vi.advanceTimersByTimeAsync(6 * LOOK_MS);
  expect([lookCount, warnings]).toEqual([7, []]);
});

test('a file that lost its name is told of once with how to save it, and fails the stop', async () => {
  const names = startWatch();
  state = 'lost';
  await vi.advanceTimersByTimeAsync(6 * LOOK_MS);
  expect(warnings).toEqual([expect.stringMatching(LOST)]);
  await expect(names.stop(LOOK_MS)).rejects.toThrow(
    'what was written to export "vm1" is lost: "/vm1.raw" was deleted or replaced',
  );
  expect(warnings).toHaveLength(1);
});

test('a file that got its name back fails no stop, and is told of again when it loses it', async () => {
  const names = startWatch();
  for (const each of ['lost', 'kept', 'lost', 'kept'] as const) {
    state = each;
    await vi.advanceTimersByTimeAsync(LOOK_MS);
  }
  await names.stop(LOOK_MS);
  expect(warnings).toEqual([expect.stringMatching(LOST), expect.stringMatching(LOST)]);
});

test('a file that was renamed is told of, and again at the stop, which succeeds', async () => {
  const names = startWatch();
  state = 'moved';
  await vi.advanceTimersByTimeAsync(6 * LOOK_MS);
  expect(warnings).toEqual([
    expect.stringMatching(/"vm1" goes to the file .*"\/vm1.raw".*move it back/),
  ]);
  await names.stop(LOOK_MS);
  expect(warnings).toHaveLength(2);
});

test('a file that is only read is left alone', async () => {
  const names = startWatch(true);
  state = 'lost';
  await vi.advanceTimersByTimeAsync(LOOK_MS);
  await names.stop(LOOK_MS);
  expect([lookCount, warnings]).toEqual([0, []]);
});

test('a file system that does not answer is asked once, and holds up the stop for no longer', async () => {
  const names = startWatch();
  nameState = () => new Promise(() => undefined);
  await vi.advanceTimersByTimeAsync(6 * LOOK_MS);
  expect(lookCount).toBe(1);
  const stopped = names.stop(LOOK_MS);
  await vi.advanceTimersByTimeAsync(LOOK_MS);
  await stopped;
  expect(warnings).toEqual([]);
});

test('a file that lost its name is told of, and fails the stop, though that of another export hangs', async () => {
  const hung = { name: '/hung.raw', nameState: () => new Promise<never>(() => undefined) };
  const names = startWatch(false, [{ name: 'hung', isReadOnly: false, image: { files: [hung] } }]);
  state = 'lost';
  await vi.advanceTimersByTimeAsync(LOOK_MS);
  expect(warnings).toEqual([expect.stringMatching(LOST)]);
  const stopped = expect(names.stop(LOOK_MS)).rejects.toThrow('export "vm1" is lost');
  await vi.advanceTimersByTimeAsync(LOOK_MS);
  await stopped;
});
