import { expect, test } from 'vitest';
import { MODES } from '../../src/config/values.ts';
import { checkServed, killOnce } from '../tools/crash-kill.ts';
import { CrashModel, type Survival } from '../tools/crash-model.ts';
import { Random } from '../tools/crash-random.ts';
import { SECTOR_BYTES } from '../tools/crash-sectors.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeEmptyImage, workspace } from '../tools/workspace.ts';

/** Kills in all; each mode gets its part of them. */
const ROUNDS = Number(process.env.TMEM_CRASH_ROUNDS ?? 200);
const SEED = Number(process.env.TMEM_CRASH_SEED ?? 1);
const ROUND_MS_MAX = 5000;
const SIZE = 8 * MIB;
const MEMORY = ['--memory', '32MiB'];

/** The modes that write. What is written through is with the kernel when it is answered. */
const WRITING: readonly (readonly [string, Survival])[] = MODES.filter(
  (mode) => mode !== 'read-only',
).map((mode) => [mode, /back/.test(mode) ? 'flushed' : 'answered']);
const PART = Math.ceil(ROUNDS / WRITING.length);
/** Images that are worked on side by side: starting a server is most of the time. */
const LANES = 2;

/** Options that lead writes through other parts of the server. */
const VARIANTS = [[], ['--hot', '0'], ['--hot', '90%'], ['--buffered']];

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
    const args = [...shared, ...random.pick(VARIANTS)];
    try {
      await killOnce({ model, random, directory, image, args });
    } catch (cause) {
      const what = cause instanceof Error ? cause.message : cause;
      const where = `kill ${round} of seed ${seed} (${args.slice(1).join(' ')})`;
      throw new Error(`${where}: ${what}`, { cause });
    }
  }
  await checkServed(await startServer(directory, shared), image);
}

test.each(WRITING)(
  `%s: ${PART} killed servers have kept what was %s`,
  async (mode, kept) => {
    let left = PART;
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
  PART * ROUND_MS_MAX + 60_000,
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
