import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { buildPageStream } from '../../src/replay/engine/page-stream.ts';
import { simulate } from '../../src/replay/engine/simulate.ts';
import { openTrace } from '../../src/trace/open-trace.ts';
import { samplesOf } from '../metrics/scraped.ts';
import { runFio } from '../tools/fio.ts';
import { needsPrograms } from '../tools/programs.ts';
import { runTmem, startServer, type TestServer } from '../tools/server.ts';
import { MIB, makeEmptyImage, workspace } from '../tools/workspace.ts';

needsPrograms('fio');

const PAGE = 4096;
/** Only every fourth page is used, so that no reader is ever taken for a sequential one. */
const STRIDE = 4 * PAGE;

/** Noise in the pages that are used: none is compressed, and each charges the same. */
function makeNoise(directory: string, sizeBytes: number): string {
  const file = makeEmptyImage(directory, sizeBytes);
  const fd = fs.openSync(file, 'r+');
  const words = new Uint32Array(PAGE / 4);
  let state = 0x746d_656d;
  for (let at = 0; at < sizeBytes; at += STRIDE) {
    for (let i = 0; i < words.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      words[i] = state;
    }
    fs.writeSync(fd, words, 0, PAGE, at);
  }
  fs.closeSync(fd);
  return file;
}

async function scrape(directory: string): Promise<Map<string, number>> {
  const socketPath = path.join(directory, 'admin.sock');
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    http.get({ socketPath, path: '/metrics' }, resolve).on('error', reject);
  });
  const pieces: Buffer[] = [];
  for await (const piece of response) pieces.push(piece as Buffer);
  return samplesOf(Buffer.concat(pieces).toString());
}

function serve(directory: string, args: readonly string[]): Promise<TestServer> {
  const places = ['--admin', `unix:${directory}/admin.sock`, '--governor', 'off'];
  return startServer(directory, [...places, ...args]);
}

/** Random reads of pages, so many of them from the first part of the image and from all of it. */
const readPages = (server: TestServer, directory: string, ofPart: number, ofAll: number) =>
  runFio(
    directory,
    { rw: 'randread', bs: '4k', ba: STRIDE, iodepth: 4, norandommap: true },
    [
      { name: 'part', size: 16 * MIB, requests: ofPart },
      { name: 'all', size: 128 * MIB, requests: ofAll },
    ].map(({ name, size, requests }) => ({
      ...{ name, uri: server.uri(), options: { size, io_size: requests * PAGE } },
    })),
  );

describe.each(['lru', 's3fifo-cw'])('recorded from fio under %s', (policy) => {
  test('a replay through the engine hits what the service hit, within a point', async () => {
    const directory = workspace();
    const file = path.join(directory, 'run.trace');
    const server = await serve(directory, [
      ...[makeNoise(directory, 128 * MIB), '--record', file, '--policy', policy],
      ...['--memory', '32MiB', '--hot', '0', '--mode', 'read-only', '--buffered'],
    ]);
    await readPages(server, directory, 4000, 13_000);
    const samples = await scrape(directory);
    await server.stop();
    const value = (series: string): number => samples.get(series) ?? Number.NaN;

    // Nothing came into the cache but what was asked for, and nothing was asked for but pages.
    expect(value('tmem_prefetched_pages_total{export="disk.raw"}')).toBe(0);
    expect(value('tmem_record_dropped_total')).toBe(0);
    const [, hits = 0] = [...samples].find(([name]) => /gets_total\{pool=.*hit/.test(name)) ?? [];
    const [, misses = 0] =
      [...samples].find(([name]) => /gets_total\{pool=.*miss/.test(name)) ?? [];
    expect(hits + misses).toBe(value('tmem_record_requests_total'));
    // The cache is full, and its pages all charge the same: so many are its capacity.
    expect(value('tmem_evictions_total{layer="zcache",reason="capacity"}')).toBeGreaterThan(500);
    const capacityPages = value('tmem_pages{layer="zcache",kind="raw"}');

    const stream = await buildPageStream(await openTrace([file]));
    const result = simulate(stream, { policy, capacityPages });
    expect(result.requests).toBe(hits + misses);
    expect(result.hits / result.requests).toBeGreaterThan(0.2);
    const difference = Math.abs(result.hits / result.requests - hits / (hits + misses));
    expect(difference).toBeLessThan(0.01);
  });
});

test('a recording that is killed with its service is read up to its last whole record', async () => {
  const directory = workspace();
  const file = path.join(directory, 'run.trace');
  const server = await serve(directory, [makeEmptyImage(directory, 128 * MIB), '--record', file]);
  await readPages(server, directory, 3000, 3000);
  server.signal('SIGKILL');
  await server.ended;
  const { code, stdout } = await runTmem(['trace', 'info', '--json', file]);
  expect(code).toBe(0);
  const { requests, malformed } = JSON.parse(stdout);
  // What was not on the disk yet is lost: less than two pieces of the buffer.
  expect(requests).toBeGreaterThan(6000 - 2 * 2032);
  expect(requests).toBeLessThanOrEqual(6000);
  expect(malformed).toBe(0);
});

test('tmem record switches recording on and off while clients go on', async () => {
  const directory = workspace();
  const traces = path.join(directory, 'traces');
  fs.mkdirSync(traces);
  const image = makeEmptyImage(directory, 128 * MIB);
  const server = await serve(directory, [image, '--record-dir', traces, '--record-limit', '1MiB']);
  const record = async (...args: string[]) => {
    const all = ['record', ...args, '--json', '--admin', `unix:${directory}/admin.sock`];
    const { code, stdout, stderr } = await runTmem(all);
    return code === 0 ? JSON.parse(stdout) : { code, stderr };
  };
  await readPages(server, directory, 50, 50);
  expect(await record('start')).toMatchObject({ isRecording: true, requests: 0 });
  expect(await record('start')).toMatchObject({ code: 2 });
  await readPages(server, directory, 150, 150);
  const stopped = await record('stop');
  expect(stopped).toMatchObject({ isRecording: false, ending: 'asked', dropped: 0, requests: 300 });
  await readPages(server, directory, 50, 50);
  expect(fs.readdirSync(traces)).toEqual([path.basename(stopped.file)]);
  const { stdout } = await runTmem(['trace', 'info', '--json', stopped.file]);
  expect(JSON.parse(stdout)).toMatchObject({ requests: 300, warnings: [] });
});
