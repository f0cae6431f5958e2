import { expect, test } from 'vitest';
import { runFio } from '../tools/fio.ts';
import { needsPrograms } from '../tools/programs.ts';
import { startServer } from '../tools/server.ts';
import { MIB, makeImage, workspace } from '../tools/workspace.ts';

needsPrograms('fio');

const SIZE = 96 * MIB;
const JOBS = 4;
/** Each job has a quarter of the image, so that what it verifies is its own. */
const SHARE = SIZE / JOBS;

/** Writes in every way, reads back and compares checksums, over several connections at once. */
async function verify(
  options: Readonly<Record<string, string | number | true>>,
  serverOptions: readonly string[],
): Promise<void> {
  const directory = workspace();
  const image = makeImage(directory, SIZE);
  const server = await startServer(directory, [image, ...serverOptions]);
  const shared = { verify: 'crc32c', verify_fatal: 1, iodepth: 16, size: SHARE, ...options };
  const jobs = Array.from({ length: JOBS }, (_, i) => ({
    name: `job${i}`,
    uri: server.uri(),
    options: { offset: i * SHARE },
  }));
  for (const result of await runFio(directory, shared, jobs)) {
    expect(result.writtenBytes).toBeGreaterThan(0);
    expect(result.readBytes).toBeGreaterThanOrEqual(result.writtenBytes);
  }
}

test.each([
  ['--hot', '0'],
  ['--hot', '25%'],
  ['--hot', '90%'],
  ['--policy', 'lru'],
  ['--buffered'],
])(
  'fio verifies random writes over four connections, image larger than cache, %s %s',
  (...option) =>
    verify({ rw: 'randwrite', bs: '4k', io_size: 6 * MIB }, ['--memory', '32MiB', ...option]),
);

test.each(['0', '25%', '90%'])(
  'fio verifies mixed reads and writes of many sizes, --hot %s',
  (hot) =>
    verify(
      { rw: 'randrw', bsrange: '512-128k', bs_unaligned: true, io_size: 16 * MIB, fsync: 64 },
      ['--memory', '32MiB', '--hot', hot],
    ),
);

test('fio verifies what it wrote while it goes on writing', () =>
  verify({ rw: 'randwrite', bs: '16k', io_size: 12 * MIB, verify_backlog: 64 }, [
    ...['--memory', '48MiB'],
  ]));

test('fio verifies sequential writes', () =>
  verify({ rw: 'write', bs: '1m', iodepth: 4 }, ['--memory', '32MiB']));
