import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { Command, CommandFlag } from '../../../src/nbd/protocol.ts';
import type { Recording } from '../../../src/nbd/recording.ts';
import { openTrace } from '../../../src/trace/open-trace.ts';
import { OP_NAMES } from '../../../src/trace/request-batch.ts';
import { withFileSizeLimit } from '../../tools/file-size-limit.ts';
import { workspace } from '../../tools/workspace.ts';
import { recordingsTo } from './quiet-recordings.ts';

const KIB = 1024;
/** More requests than are held back before a write: 2,032 fill a piece of the buffer. */
const PIECE_REQUESTS = 2032;
/** Records of the first block that name the export. */
const NAME_RECORDS = 2;

/** Reads of a page each, from offset 0 on. */
function play(recording: Recording, count: number, command: number = Command.READ): void {
  for (let i = 0; i < count; i++) {
    recording.recorder?.record(0, command, 0, i * 4096, 4096, performance.now() / 1000);
  }
}

async function read(file: string) {
  const trace = await openTrace([file]);
  const requests: string[] = [];
  for await (const batch of trace.batches()) {
    for (let i = 0; i < batch.count; i++) {
      const op = OP_NAMES[batch.op[i] ?? 0];
      requests.push(`${trace.volumes[batch.volume[i] ?? 0]} ${op} ${batch.offset[i]}`);
    }
  }
  const { dropped, warnings } = trace.statistics;
  return { requests, dropped, warnings: [...warnings] };
}

/** Lets writes under way end. */
async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
}

test('a recording has every operation with its export, and is complete when it has ended', async () => {
  const file = path.join(workspace(), 'a.trace');
  const { recordings, recording } = recordingsTo({ path: file }, ['disk', 'other']);
  await recordings.startConfigured();
  const commands = [
    ...[Command.READ, Command.WRITE, Command.TRIM, Command.FLUSH, Command.WRITE_ZEROES],
    ...[Command.CACHE, Command.BLOCK_STATUS, Command.DISC, 77],
  ];
  for (const command of commands) {
    recording.recorder?.record(1, command, CommandFlag.FUA, command * 512, 512, 0);
  }
  expect(recordings.status()).toMatchObject({ isRecording: true, file, requests: 5, ending: null });
  expect(await recordings.stop()).toMatchObject({ isRecording: false, ending: 'asked' });
  expect(recording.recorder).toBeUndefined();
  expect(await read(file)).toEqual({
    requests: [
      ...['other read 0', 'other write 512', 'other trim 2048', 'other flush 1536'],
      'other zero 3072',
    ],
    dropped: 0,
    warnings: [],
  });
  expect(fs.statSync(file).mode & 0o777).toBe(0o600);
  expect(fs.statSync(file).size).toBe(recordings.status().bytes);
});

test('at its limit a recording ends by itself, completely, and says so', async () => {
  const directory = workspace();
  const file = path.join(directory, 'a.trace');
  const { recordings, recording, warnings } = recordingsTo({ path: file, limitBytes: 128 * KIB });
  await recordings.startConfigured();
  play(recording, 10_000);
  await recordings.stop();
  const status = recordings.status();
  // 128 KiB are a header and 31 blocks of 127 records.
  const most = 31 * 127 - NAME_RECORDS;
  expect(status).toMatchObject({ ending: 'limit', requests: most, dropped: 0, leftBytes: 0 });
  expect(fs.statSync(file).size).toBe(128 * KIB);
  const { requests, warnings: ofReader } = await read(file);
  expect([requests.length, ofReader]).toEqual([most, []]);
  expect(warnings).toEqual([expect.stringContaining('at its limit')]);
  await expect(recordings.start({})).rejects.toMatchObject({ kind: 'no-space' });
  expect(fs.readdirSync(directory)).toEqual(['a.trace']);
});

test('all recordings together stay below the limit', async () => {
  const directory = workspace();
  const { recordings, recording } = recordingsTo({ directory, limitBytes: 160 * KIB });
  expect(await recordings.start({ limitBytes: 64 * KIB })).toMatchObject({ limitBytes: 64 * KIB });
  play(recording, 10_000);
  await recordings.stop();
  expect(await recordings.start({})).toMatchObject({ limitBytes: 96 * KIB });
  play(recording, 10_000);
  await recordings.stop();
  await expect(recordings.start({})).rejects.toMatchObject({ kind: 'no-space' });
  const sizes = fs
    .readdirSync(directory)
    .map((name) => fs.statSync(path.join(directory, name)).size);
  expect(sizes.sort((a, b) => a - b)).toEqual([64 * KIB, 96 * KIB]);
  expect(recordings.totals).toMatchObject({ isRecording: false, bytes: 160 * KIB });
});

test('when the disk is slower requests are left out and counted, and the rest is there', async () => {
  const file = path.join(workspace(), 'a.trace');
  const { recordings, recording } = recordingsTo({ path: file, limitBytes: 16 * 1024 * KIB });
  await recordings.startConfigured();
  play(recording, 20 * PIECE_REQUESTS); // in one turn, in which nothing can be written
  const { requests, dropped } = recordings.status();
  expect(requests + dropped).toBe(20 * PIECE_REQUESTS);
  expect(dropped).toBeGreaterThan(0);
  await recordings.stop();
  const found = await read(file);
  expect([found.requests.length, found.dropped]).toEqual([requests, dropped]);
});

test('what is written can be read while it is recorded, up to the last whole record', async () => {
  const file = path.join(workspace(), 'a.trace');
  const { recordings, recording } = recordingsTo({ path: file });
  await recordings.startConfigured();
  play(recording, PIECE_REQUESTS + 10);
  await until(() => fs.statSync(file).size >= 64 * KIB);
  fs.truncateSync(file, 4096 + 4096 + 32 * 5 + 7); // as a crash would have left it
  const { requests, warnings } = await read(file);
  expect(requests.length).toBe(127 + 5 - NAME_RECORDS);
  expect(warnings.join('\n')).toContain('not ended properly');
  await recordings.stop();
});

test('a sample has all requests of its pages, and no other', async () => {
  const directory = workspace();
  const { recordings, recording } = recordingsTo({ directory, sampleRate: 0.25 });
  const { file } = await recordings.start({});
  play(recording, 1000);
  play(recording, 1000);
  await recordings.stop();
  const { requests } = await read(file ?? '');
  const times = new Map<string, number>();
  for (const each of requests) times.set(each, (times.get(each) ?? 0) + 1);
  expect(new Set(times.values())).toEqual(new Set([2]));
  expect(times.size).toBeGreaterThan(150);
  expect(times.size).toBeLessThan(350);
});

test('no file is ever replaced: the first is refused, later ones get a number', async () => {
  const directory = workspace();
  const file = path.join(directory, 'a.trace');
  fs.writeFileSync(file, 'mine');
  const taken = recordingsTo({ path: file });
  await expect(taken.recordings.startConfigured()).rejects.toMatchObject({ kind: 'invalid' });
  expect(await taken.recordings.start({})).toMatchObject({
    file: path.join(directory, 'a-2.trace'),
  });
  await taken.recordings.stop();
  fs.symlinkSync('/dev/null', path.join(directory, 'a-3.trace'));
  expect(await taken.recordings.start({})).toMatchObject({
    file: path.join(directory, 'a-4.trace'),
  });
  await taken.recordings.stop();
  expect(fs.readFileSync(file, 'utf8')).toBe('mine');
});

test('what was asked for at the start comes before what a client was quick to ask for', async () => {
  const directory = workspace();
  const file = path.join(directory, 'a.trace');
  const { recordings, recording } = recordingsTo({ path: file, directory });
  const quick = await recordings.start({});
  play(recording, 1);
  await recordings.startConfigured();
  expect(recordings.status()).toMatchObject({ isRecording: true, file });
  play(recording, 1);
  await recordings.stop();
  expect((await read(file)).warnings).toEqual([]);
  expect((await read(quick.file ?? '')).warnings).toEqual([]);
});

test('a directory that is none is refused at the start', async () => {
  const directory = workspace();
  const file = path.join(directory, 'file');
  fs.writeFileSync(file, '');
  for (const each of [file, path.join(directory, 'gone')]) {
    const { recordings } = recordingsTo({ directory: each });
    await expect(recordings.startConfigured()).rejects.toThrow(each);
  }
});

test('there is one recording at a time, and none without a place', async () => {
  const { recordings } = recordingsTo({ directory: workspace() });
  const [first, second] = await Promise.allSettled([recordings.start({}), recordings.start({})]);
  expect([first.status, second.status]).toEqual(['fulfilled', 'rejected']);
  await recordings.stop();
  expect(await recordings.stop()).toMatchObject({ isRecording: false, ending: 'asked' });
  const nowhere = recordingsTo().recordings;
  await expect(nowhere.start({})).rejects.toMatchObject({ kind: 'unsupported' });
  expect(await nowhere.stop()).toMatchObject({ canRecord: false, file: null });
});

test('a disk that fails ends the recording and says why, and the service goes on', async () => {
  const { recordings, recording, warnings } = recordingsTo({ directory: workspace() });
  const { file } = await recordings.start({});
  // The sink fails from now on: its file is closed under it.
  const { RecordingFile } = await import('../../../src/trace/own/recording-file.ts');
  const { write } = RecordingFile.prototype;
  RecordingFile.prototype.write = () => Promise.reject(new Error('no space left'));
  try {
    play(recording, PIECE_REQUESTS);
    await until(() => {
      play(recording, 1);
      return recording.recorder === undefined;
    });
    await recordings.stop();
  } finally {
    RecordingFile.prototype.write = write;
  }
  expect(recordings.status()).toMatchObject({
    ending: 'failed',
    file,
    failure: expect.stringContaining('no space'),
  });
  expect(warnings.join('\n')).toContain('no space left');
});

test('what a failing disk lost is counted as left out, and what is in the file as recorded', async () => {
  const { recordings, recording, warnings } = recordingsTo({ directory: workspace() });
  const { file } = await recordings.start({});
  // One piece of the buffer fits behind the header, a second one does not.
  const taken = await withFileSizeLimit(100 * KIB, async () => {
    for (let count = 0; ; count++) {
      if (recording.recorder === undefined) return count;
      play(recording, 1);
      if (count % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  });
  await recordings.stop();
  const { requests, dropped, bytes, failure, leftBytes } = recordings.status();
  expect(failure).toContain('EFBIG');
  expect([requests, dropped]).toEqual([PIECE_REQUESTS - NAME_RECORDS, taken - requests]);
  expect(bytes).toBe(4096 + 64 * KIB);
  expect((await read(file ?? '')).requests.length).toBeGreaterThanOrEqual(requests);
  expect(warnings.join()).toContain(`ended with ${requests} requests, 68KiB`);
  // Counters only grow: what was taken and then lost counts as both.
  expect(recordings.totals).toMatchObject({ dropped, bytes: KIB * KIB - leftBytes });
  expect(recordings.totals.requests).toBeGreaterThan(requests);
});

test('a recording that cannot begin leaves no file', async () => {
  const directory = workspace();
  const { recordings } = recordingsTo({ directory });
  await withFileSizeLimit(1000, () => expect(recordings.start({})).rejects.toThrow('EFBIG'));
  const first = recordingsTo({ path: path.join(directory, 'week.trace') }).recordings;
  await withFileSizeLimit(1000, () => expect(first.startConfigured()).rejects.toThrow('EFBIG'));
  expect(fs.readdirSync(directory)).toEqual([]);
});
