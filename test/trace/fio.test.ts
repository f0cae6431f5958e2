import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { needsPrograms, runWell } from '../tools/programs.ts';
import { workspace } from '../tools/workspace.ts';
import { readFiles } from './written.ts';

needsPrograms('fio');

test('what fio logs of its requests is read as fio did them', async () => {
  const directory = workspace();
  const iolog = join(directory, 'iolog');
  await runWell(
    'fio',
    [
      ...['--name=job', `--filename=${join(directory, 'file')}`, '--size=1m', '--rw=randrw'],
      ...['--bs=4k', '--ioengine=psync', '--fsync=16', `--write_iolog=${iolog}`],
    ],
    { directory },
  );
  const { trace, requests } = await readFiles([iolog]);
  expect(trace.formatName).toMatch(/^fio-v[23]$/);
  expect(trace.statistics.malformed).toBe(0);
  // 1 MiB in requests of 4 KiB, every page once.
  const data = requests.filter(({ op }) => op !== 'flush');
  expect(new Set(data.map(({ offset }) => offset)).size).toBe(256);
  expect(data.every(({ length }) => length === 4096)).toBe(true);
  const flushes = readFileSync(iolog, 'utf8').match(/ (data)?sync /g)?.length ?? 0;
  expect(requests.length - data.length).toBe(flushes);
  expect(flushes).toBeGreaterThan(0);
});
