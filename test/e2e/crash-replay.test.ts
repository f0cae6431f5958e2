import { expect, test } from 'vitest';
import { connectToExport, EXPORT_MODES, type WritingMode } from '../tools/crash-export.ts';
import { Clock, CrashModel } from '../tools/crash-model.ts';
import { Random } from '../tools/crash-random.ts';
import { cutPowerEverywhere, RecordingStorage } from '../tools/crash-recorder.ts';
import { SECTOR_BYTES } from '../tools/crash-sectors.ts';
import { runWorkload } from '../tools/crash-workload.ts';
import { SEED } from '../tools/seed.ts';

const SECTORS = 300; // the last page is not a whole one
const REQUESTS = 250;
const CONNECTIONS = 4;
const COUNT_MAX = 64;
const SEEDS = [0, 1, 2, 3, 4, 5].map((more) => SEED + more);
/** Turns of the event loop in which nothing happens, after which nothing will. */
const IDLE_TURNS_MAX = 20_000;

type StorageClass = new (sizeBytes: number, clock: Clock) => RecordingStorage;

/** Works on an export whose storage steps in random order, and then cuts the power everywhere. */
async function workAndCutPower(
  seed: number,
  mode: WritingMode,
  Recording: StorageClass = RecordingStorage,
): Promise<number> {
  const clock = new Clock();
  const random = new Random(seed);
  const model = new CrashModel(seed, SECTORS, 'flushed', clock);
  const storage = new Recording(SECTORS * SECTOR_BYTES, clock);
  const { connection, close } = connectToExport(storage, mode, random);
  let left = REQUESTS;
  let isOver = false;
  const work = runWorkload({
    ...{ model, random, depth: 2, countMax: COUNT_MAX },
    connections: Array.from({ length: CONNECTIONS }, () => connection),
    mayGoOn: () => left-- > 0,
  }).finally(() => {
    isOver = true;
  });
  work.catch(() => undefined); // it is told below
  // What goes on behind the last answer is played to its end too.
  for (let idle = 0, isMoving = true; idle < IDLE_TURNS_MAX && (!isOver || isMoving); idle++) {
    await new Promise((resolve) => setImmediate(resolve));
    isMoving = storage.step(random);
    if (isMoving) idle = 0;
  }
  if (!isOver) throw new Error('Requests wait, and nothing is under way.');
  await work;
  close();
  return cutPowerEverywhere(storage, model, random);
}

test.each(EXPORT_MODES.flatMap((mode) => SEEDS.map((seed) => [mode, seed] as const)))(
  '%s: no loss of power takes what was flushed, seed %i',
  async (mode, seed) => {
    expect(await workAndCutPower(seed, mode)).toBeGreaterThan(REQUESTS);
  },
);

/** Says that it has synced, and has not. */
class Forgetful extends RecordingStorage {
  override async sync(): Promise<void> {}
}

/** Answers a write that has only begun. */
class Hasty extends RecordingStorage {
  override async write(buffer: Buffer, at: number, length: number, offset: number): Promise<void> {
    super.write(Buffer.from(buffer), at, length, offset).catch(() => undefined);
  }
}

test.each([
  ['drops syncs', Forgetful, /^A loss of power at \d+ .*\nsector \d+ holds version/],
  ['answers writes that are under way', Hasty, /^sector \d+ /m],
] as const)('a medium that %s is found out', async (_, Recording, sentence) => {
  for (const mode of EXPORT_MODES) {
    await expect(workAndCutPower(SEED, mode, Recording)).rejects.toThrow(sentence);
  }
});
