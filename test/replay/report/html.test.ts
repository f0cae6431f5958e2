import { describe, expect, test } from 'vitest';
import { csvFilesOf } from '../../../src/replay/report/csv.ts';
import { htmlOf } from '../../../src/replay/report/html/page.ts';
import { replay } from '../../../src/replay/report/replay.ts';
import type { ReplayReport } from '../../../src/replay/report/report.ts';
import { mixedRequests, replayOptions, scriptedTrace } from './scripted-trace.ts';

async function reportOf(facts: Parameters<typeof scriptedTrace>[1] = {}): Promise<ReplayReport> {
  const trace = scriptedTrace(mixedRequests(3000, 400), facts);
  const { report } = await replay(trace, replayOptions());
  if (report === undefined) throw new Error('no report');
  return report;
}

describe('the page of a report', () => {
  test('is the same to the byte however often it is made', async () => {
    const report = await reportOf();
    expect(htmlOf(report)).toBe(htmlOf(report));
    expect(htmlOf(report)).not.toMatch(/zr\d|ecmeta|undefined|NaN/);
  });

  test('loads nothing and runs nothing', async () => {
    const html = htmlOf(await reportOf());
    expect(html).not.toMatch(/<script|<link rel="stylesheet"|@import|url\((?!#)/);
    expect(html.match(/(?:src|href)="(?!#|data:,)[^"]*"/g)).toBeNull();
  });

  test('gives every chart a description, and its numbers as a table', async () => {
    const html = htmlOf(await reportOf());
    const figures = html.split('<figure').slice(1);
    expect(figures.length).toBe(9);
    for (const figure of figures) {
      expect(figure).toMatch(/role="img" aria-label="[^"]{20,}"/);
      expect(figure).toMatch(/<details>[\s\S]*<table[ >][\s\S]*<td/);
    }
  });

  test('calls what knows the future a floor of misses, and none of hits', async () => {
    const html = htmlOf(await reportOf());
    const legendOf = (id: string) =>
      html.slice(html.indexOf(`id="${id}"`)).match(/belady[^<]*/)?.[0];
    expect(legendOf('miss-ratio-curves')).toBe('belady (floor: knows the future)');
    expect(legendOf('hits-over-time')).toBe('belady (knows the future)');
  });

  test('shows names from a trace as they are, and runs none of them', async () => {
    const name = '<script>alert("x")</script>';
    const html = htmlOf(await reportOf({ name, volumes: [name] }));
    expect(html).not.toContain('<script>');
    expect(html).toContain('&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;');
  });

  test('uses an id once', async () => {
    const ids = htmlOf(await reportOf()).match(/(?<=\sid=")[^"]+/g) ?? [];
    expect(ids.length).toBeGreaterThan(20);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('of a trace of keys speaks of objects, and has no tiers', async () => {
    const html = htmlOf(await reportOf({ unit: 'keys', hasClock: false }));
    expect(html).toMatch(/<dd>\d+<small>different objects</);
    expect(html).toContain('Footprint: different objects used so far');
    expect(html).toContain('Popularity: accesses of each object');
    expect(html).not.toMatch(/id="tiers"|MiB|KiB|\d B<|of pages|>Pages</);
  });
});

describe('the CSV files of a report', () => {
  test('have a line of titles, and as many fields in every line', async () => {
    const files = csvFilesOf(await reportOf());
    expect(files.map(({ name }) => name)).toContain('runs.csv');
    expect(files.length).toBe(12);
    for (const { name, text } of files) {
      const widths = text
        .trimEnd()
        .split('\n')
        .map((line) => line.split(',').length);
      expect(new Set(widths).size, name).toBe(1);
      expect(text, name).not.toMatch(/undefined|NaN|null/);
    }
  });

  test('of a trace of keys call objects what is counted in objects', async () => {
    const files = csvFilesOf(await reportOf({ unit: 'keys', hasClock: false }));
    const titlesOf = (name: string) =>
      files.find((each) => each.name === name)?.text.split('\n', 1)[0];
    expect(titlesOf('mix.csv')).toBe('start,reads,writes,sequential,readObjects,writeObjects');
    expect(titlesOf('volumes.csv')).toContain(',readObjects,writeObjects,');
    expect(titlesOf('heat-map.csv')).toBe('volume,start,address,objects');
    const [, run] = files.find(({ name }) => name === 'runs.csv')?.text.split('\n') ?? [];
    expect(run).toMatch(/^script,s3fifo-cw,\d+,,3300,/);
  });

  test('quote what a spreadsheet would take for something else', async () => {
    const report = await reportOf({ name: '=1+1', volumes: ['a,"b"'] });
    const texts = csvFilesOf(report).map(({ text }) => text);
    expect(texts[0]).toMatch(/^'=1\+1,s3fifo-cw,/m);
    expect(texts.join()).toContain('\n"a,""b""",');
  });
});
