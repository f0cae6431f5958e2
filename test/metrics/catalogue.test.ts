import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CATALOGUE } from '../../src/metrics/catalogue.ts';
import { Metrics } from '../../src/metrics/metrics.ts';
import { ServerStatistics } from '../../src/nbd/statistics.ts';
import { leaveOutWithout } from '../tools/programs.ts';
import { quietExport, sourcesOf } from './scraped.ts';

test('promtool has nothing to say about a scrape', async ({ skip }) => {
  leaveOutWithout(skip, 'promtool');
  const server = new ServerStatistics();
  server.requestsOf('disk').count(0, 5);
  const exports = [quietExport('disk'), quietExport('a "b"\\\n', 2)];
  const input = await new Metrics(sourcesOf({ server, exports })).scrape();
  const { error, status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input,
    encoding: 'utf8',
  });
  expect({ error, status, stdout, stderr }).toMatchObject({ status: 0, stdout: '', stderr: '' });
});

test('every metric of the catalogue has samples in the scrape of one export', async () => {
  const text = await new Metrics(sourcesOf()).scrape();
  for (const { name, type } of CATALOGUE) {
    const sample = type === 'histogram' ? `${name}_count` : name;
    expect(text, name).toMatch(new RegExp(`^${sample}(\\{.*\\})? \\S+$`, 'm'));
  }
});

test('a counter ends in _total, and nothing else does', () => {
  for (const { name, type } of CATALOGUE) {
    expect(name.endsWith('_total'), name).toBe(type === 'counter');
  }
});

test('the manual lists exactly the metrics of the catalogue, with their labels', () => {
  const manual = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
  const listed = [...manual.matchAll(/^\| `(\w+(?:\{[\w,]*\})?)` \|/gm)].map(([, entry]) => entry);
  const defined = CATALOGUE.map(({ name, labelNames }) =>
    labelNames.length === 0 ? name : `${name}{${labelNames.join(',')}}`,
  );
  expect(listed).toEqual(defined);
});

test('two services in one process have nothing in common', async () => {
  const first = new Metrics(sourcesOf({ exports: [quietExport('export-1')] }));
  const second = new Metrics(sourcesOf({ exports: [quietExport('export-2')] }));
  expect(await first.scrape()).not.toContain('export-2');
  expect(await second.scrape()).not.toContain('export-1');
});
