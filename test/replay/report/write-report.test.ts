import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { replay } from '../../../src/replay/report/replay.ts';
import { refuseExisting } from '../../../src/replay/report/report-folder.ts';
import { writeReport } from '../../../src/replay/report/write-report.ts';
import { workspace } from '../../tools/workspace.ts';
import { mixedRequests, replayOptions, scriptedTrace } from './scripted-trace.ts';

async function someReport() {
  const { report } = await replay(scriptedTrace(mixedRequests(500, 100)), replayOptions());
  if (report === undefined) throw new Error('no report');
  return report;
}

test('a report is a folder of HTML, JSON and CSV, and nothing else is left', async () => {
  const directory = workspace();
  const report = await someReport();
  await writeReport(report, path.join(directory, 'out'));
  expect(readdirSync(directory)).toEqual(['out']);
  const names = readdirSync(path.join(directory, 'out'));
  expect(names).toEqual(expect.arrayContaining(['report.html', 'report.json', 'runs.csv']));
  const json = readFileSync(path.join(directory, 'out', 'report.json'), 'utf8');
  expect(JSON.parse(json)).toEqual(report);
});

test('a folder, a file or a dangling place of that name is refused, and stays as it is', async () => {
  const directory = workspace();
  mkdirSync(path.join(directory, 'folder'));
  writeFileSync(path.join(directory, 'file'), 'mine');
  const report = await someReport();
  for (const name of ['folder', 'file']) {
    const out = path.join(directory, name);
    await expect(writeReport(report, out)).rejects.toThrow(`${out} exists; name a folder`);
    await expect(refuseExisting(out)).rejects.toMatchObject({ kind: 'busy' });
  }
  const nowhere = path.join(directory, 'none', 'out');
  await expect(writeReport(report, nowhere)).rejects.toThrow(
    /no report can be made in .*none: ENOENT; make its directory/,
  );
  expect(readdirSync(directory).sort()).toEqual(['file', 'folder']);
  expect(readFileSync(path.join(directory, 'file'), 'utf8')).toBe('mine');
});

test('a folder below a link that leads nowhere is refused before anything is simulated', async () => {
  const directory = workspace();
  const link = path.join(directory, 'link');
  symlinkSync(path.join(directory, 'none'), link);
  await expect(refuseExisting(path.join(link, 'out'))).rejects.toMatchObject({ kind: 'not-found' });
  symlinkSync(directory, path.join(directory, 'good'));
  await refuseExisting(path.join(directory, 'good', 'out'));
});

test('a place where the system makes no folder is told with what to do', async () => {
  await expect(writeReport(await someReport(), '/proc/out')).rejects.toThrow(
    /^(?:the report cannot be written to|--out: .*) \/proc.*; .*name another path$/,
  );
});

test('a report that cannot be written leaves nothing behind', async () => {
  const directory = workspace();
  const report = await someReport();
  const broken = { ...report, heatMaps: null as unknown as typeof report.heatMaps };
  await expect(writeReport(broken, path.join(directory, 'out'))).rejects.toThrow();
  const name = 'x'.repeat(240);
  await expect(writeReport(report, path.join(directory, name))).rejects.toThrow(
    /cannot be written/,
  );
  expect(readdirSync(directory)).toEqual([]);
});
