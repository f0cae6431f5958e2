import fs from 'node:fs';
import { expect, test } from 'vitest';
import { MODES } from '../../src/config/values.ts';
import { checkServed, killOnce } from '../tools/crash-kill.ts';
import { CrashModel, type Survival } from '../tools/crash-model.ts';
import { Random } from '../tools/crash-random.ts';
import { SECTOR_BYTES } from '../tools/crash-sectors.ts';
import { SEED } from '../tools/seed.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeEmptyImage, workspace } from '../tools/workspace.ts';

/** Kills in all; half of them in the modes that write back. */
const ROUNDS = Number(process.env.TMEM_CRASH_ROUNDS ?? 200);
/** Of a whole mode; what hangs is found by each kill for itself. */
const TIMEOUT_MS = 60_000 + ROUNDS * 5000;
const SIZE = 8 * MIB;
const MEMORY = ['--memory', '32MiB'];

/** The modes that write. What is written through is with the kernel when it is answered. */
const WRITING: readonly (readonly [string, Survival])[] = MODES.filter(
  (mode) => mode !== 'read-only',
).map((mode) => [mode, /back/.test(mode) ? 'flushed' : 'answered']);
/** How many servers are killed in a mode. */
function partOf(survival: Survival): number {
  const alike = WRITING.filter(([, other]) => other === survival).length;
  const share = alike === WRITING.length ? 1 : 0.5;
  return Math.ceil((ROUNDS * share) / alike);
}
/** Images that are worked on side by side: starting a server is most of the time. */
const LANES = 2;

/** Options that lead writes through other parts of the server. */
const VARIANTS = [[], ['--hot', '0'], ['--hot', '90%'], ['--buffered']];
/** And those that have write-back write at once, or wait for room. */
const WRITE_BACK_VARIANTS = [[], ['--dirty-limit', '4MiB']];

/** Kills servers of one image until it is found wrong or `mayGoOn` says no. */
async function killAgainAndAgain(
  seed: number,
  [mode, kept]: readonly [string, Survival],
  mayGoOn: () => boolean,
): Promise<void> {
  const directory = workspace();
  const image = makeEmptyImage(directory, SIZE);
  const random = new Random(seed);
  const model = new CrashModel(seed, SIZE / SECTOR_BYTES, kept);
  const shared = [image, '--mode', mode, ...MEMORY];
  for (let round = 1; mayGoOn(); round++) {
    const more = kept === 'flushed' ? random.pick(WRITE_BACK_VARIANTS) : [];
    const args = [...shared, ...random.pick(VARIANTS), ...more];
    try {
      await killOnce({ model, random, directory, image, args });
    } catch (cause) {
      const what = cause instanceof Error ? cause.message : cause;
      const where = `kill ${round} of seed ${seed} (${args.slice(1).join(' ')})`;
      throw new Error(`${where}: ${what}`, { cause });
    }
  }
  await checkServed(await startServer(directory, shared), fs.readFileSync(image));
}

test.each(WRITING.map(([mode, kept]) => [mode, partOf(kept), kept] as const))(
  '%s: %i killed servers have kept what was %s',
  { timeout: TIMEOUT_MS },
  async (mode, part, kept) => {
    let left = part;
    const mayGoOn = () => left-- > 0;
    const lane = async (index: number): Promise<void> => {
      try {
        await killAgainAndAgain(SEED + index, [mode, kept], mayGoOn);
      } finally {
        left = 0;
      }
    };
    const lanes = await Promise.allSettled(
      Array.from({ length: LANES }, (_, index) => lane(index)),
    );
    const failures = lanes.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
    if (failures.length > 0) throw failures[0];
  },
);

test('a server that answers before it has the data is found out', async () => {
  const directory = workspace();
  const image = makeEmptyImage(directory, SIZE);
  const random = new Random(SEED);
  const model = new CrashModel(SEED, SIZE / SECTOR_BYTES, 'flushed');
  const killUntilFound = async (): Promise<void> => {
    for (let round = 0; round < 20; round++) {
      await killOnce({
        ...{ model, random, directory, image, args: [image, ...MEMORY] },
        between: (connection) => async (request) => {
          if (request.kind !== 'read') connection(request).catch(() => undefined);
          return undefined;
        },
      });
    }
  };
  await expect(killUntilFound()).rejects.toThrow(/the image is wrong:\nsector \d+ holds version/);
});
