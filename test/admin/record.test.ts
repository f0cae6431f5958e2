import fs from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { recordingsTo } from '../service/recording/quiet-recordings.ts';
import { workspace } from '../tools/workspace.ts';
import { startAdmin } from './fixture.ts';

async function admin(...given: Parameters<typeof recordingsTo>) {
  const parts = recordingsTo(...given);
  return { ...parts, ...(await startAdmin({ parts: { recordings: parts.recordings } })) };
}

test('recording is switched on and off, and told', async () => {
  const directory = workspace();
  const { ask, recording } = await admin({ directory });
  expect((await ask('GET', '/v1/record')).json).toMatchObject({
    ...{ isRecording: false, canRecord: true, file: null, ending: null, requests: 0 },
  });
  const started = await ask('POST', '/v1/record', { json: { sampleRate: 0.5 } });
  expect(started.json).toMatchObject({ isRecording: true, sampleRate: 0.5, bytes: 4096 });
  expect(path.dirname(String(started.json.file))).toBe(directory);
  expect(recording.recorder).toBeDefined();
  expect((await ask('POST', '/v1/record')).status).toBe(409);
  const stopped = await ask('DELETE', '/v1/record');
  expect(stopped.json).toMatchObject({ isRecording: false, ending: 'asked' });
  expect(recording.recorder).toBeUndefined();
  expect((await ask('GET', '/v1/record')).json).toEqual(stopped.json);
});

test.each([
  { file: '/tmp/mine' },
  { path: '/tmp/mine' },
  { directory: '/tmp' },
  { limitBytes: 1 },
  { limitBytes: 1e6 + 0.5 },
  { sampleRate: 0 },
  { sampleRate: 2 },
])('a client says neither where to nor what makes no sense: %o', async (json) => {
  const directory = workspace();
  const { ask } = await admin({ directory });
  expect((await ask('POST', '/v1/record', { json })).status).toBe(400);
  expect(fs.readdirSync(directory)).toEqual([]);
});

test('a client gets no more than the limit of the service', async () => {
  const { ask } = await admin({ directory: workspace(), limitBytes: 100_000 });
  const { json } = await ask('POST', '/v1/record', { json: { limitBytes: 2 ** 40 } });
  expect(json.limitBytes).toBe(100_000);
  await ask('DELETE', '/v1/record');
});

test('without a place for recordings there is none', async () => {
  const { ask } = await admin();
  expect((await ask('GET', '/v1/record')).json).toMatchObject({ canRecord: false, leftBytes: 0 });
  const { status, json } = await ask('POST', '/v1/record');
  expect([status, json.detail]).toEqual([501, expect.stringContaining('--record-dir')]);
});

test('a directory that went away is a failure of the service, which says so', async () => {
  const directory = path.join(workspace(), 'gone');
  const { ask } = await admin({ directory });
  const { status, json } = await ask('POST', '/v1/record');
  expect([status, json.detail]).toEqual([500, expect.stringContaining(directory)]);
});
