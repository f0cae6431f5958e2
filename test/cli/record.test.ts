import { beforeEach, expect, test } from 'vitest';
import type { RecordStatus } from '../../src/admin/api.ts';
import { main } from '../../src/cli/main.ts';
import { problem, ScriptedAdmin } from './scripted-admin.ts';
import { ScriptedContext } from './scripted-context.ts';

const STATUS: RecordStatus = {
  isRecording: true,
  canRecord: true,
  file: '/srv/t/tmem-20260102T030405Z.trace',
  startedAt: '2026-01-02T03:04:05.000Z',
  requests: 12_345,
  dropped: 0,
  bytes: 1024 * 1024,
  limitBytes: 1024 ** 3,
  sampleRate: 1,
  leftBytes: 0,
  ending: null,
  failure: null,
};

let context = new ScriptedContext();
beforeEach(() => {
  context = new ScriptedContext();
});

async function run(args: string, route = '', answer: object = {}) {
  const admin = await ScriptedAdmin.start({ [route]: answer });
  const code = await main(['record', ...args.split(' '), '--admin', admin.address], context);
  return { code, out: context.out, err: context.err, asked: admin.asked };
}

test('record start asks for what is wished, and says where it goes', async () => {
  const ran = await run('start --limit 1MiB --sample 10%', 'POST /v1/record', { json: STATUS });
  expect(ran.asked).toEqual(['POST /v1/record {"limitBytes":1048576,"sampleRate":0.1}']);
  expect(ran).toMatchObject({ code: 0, err: '' });
  expect(ran.out).toBe(`recording to ${STATUS.file}\n  12,345 requests, 1MiB of 1GiB\n`);
});

test.each([
  [{}, /^recorded, to .*\n {2}12,345 requests/],
  [{ ending: 'limit' }, /^recorded, at its limit, to/],
  [
    { ending: 'failed', failure: 'the disk is full' },
    /which failed.*\n.*\n {2}the disk is full\n$/,
  ],
  [{ dropped: 7 }, /7 requests were left out: the disk is slower/],
  [
    { dropped: 1, ending: 'failed', failure: 'it is full' },
    /1 request was left out: it is full\n$/,
  ],
  [{ sampleRate: 0.01 }, /of 1.0 % of the pages/],
] as const)('record stop says what came of it: %o', async (changes, text) => {
  const json = { ...STATUS, isRecording: false, ending: 'asked', ...changes };
  const { asked, out } = await run('stop', 'DELETE /v1/record', { json });
  expect(asked).toEqual(['DELETE /v1/record']);
  expect(out).toMatch(text);
});

test('record status --json is the answer of the service', async () => {
  const { out } = await run('status --json', 'GET /v1/record', { json: STATUS });
  expect(JSON.parse(out)).toEqual(STATUS);
});

test.each([
  [true, 'tmem record start'],
  [false, '--record-dir'],
])('record status, where nothing was recorded and it can be: %s', async (canRecord, advice) => {
  const json = { ...STATUS, isRecording: false, file: null, canRecord };
  expect((await run('status', 'GET /v1/record', { json })).out).toContain(advice);
});

test.each([
  ['strat', /did|start/],
  ['stop now', /too much/],
  ['status --limit 1M', /for tmem record start/],
  ['start --sample many', /--sample: .*not a share/],
  ['start --sample 0', /--sample: .*above 0, as 10%/],
  ['start --limit 1', /--limit: recordings of 1 bytes say nothing; allow at least 64KiB/],
])('record %s is refused without asking the service', async (args, message) => {
  const { code, err, asked } = await run(args);
  expect({ code, asked }).toEqual({ code: 2, asked: [] });
  expect(err).toMatch(message);
});

test('what the service refuses is told in its words', async () => {
  const answer = problem(501, 'this service was given no place for recordings');
  const { code, err } = await run('start', 'POST /v1/record', answer);
  expect({ code, err }).toEqual({
    code: 2,
    err: 'tmem: this service was given no place for recordings\n',
  });
});
