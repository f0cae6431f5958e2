import { beforeEach, describe, expect, test } from 'vitest';
import type { Clock } from '../../../src/cli/command/clock.ts';
import { ctl, VERBS } from '../../../src/cli/ctl/ctl.ts';
import { main } from '../../../src/cli/main.ts';
import { problem, type Route, ScriptedAdmin, type ScriptedAnswer } from '../scripted-admin.ts';
import { ScriptedContext } from '../scripted-context.ts';
import { exportStatus, layerStatus, poolStatus, SHARE, serviceStatus } from '../statuses.ts';

const MIB = 1024 * 1024;
const SAVED = { pages: 1200, bytes: MIB, changed: [], leftOut: [] };
const { memory: MEMORY } = serviceStatus();

let context = new ScriptedContext();
beforeEach(() => {
  context = new ScriptedContext();
});

/** Runs `tmem ctl` against a service with the one route, as in `GET /v1/pools`. */
async function run(args: readonly string[], route = '', answer: Route | ScriptedAnswer = {}) {
  const admin = await ScriptedAdmin.start({ [route]: answer });
  const code = await main(['ctl', ...args, '--admin', admin.address], context);
  return { code, out: context.out, err: context.err, asked: admin.asked };
}

type Case = [string, string, unknown, unknown, string];
const CASES: Case[] = [
  ['freeze', 'POST /v1/freeze', undefined, { isFrozen: true }, 'frozen: no new pages are taken'],
  ['thaw', 'POST /v1/thaw', undefined, { isFrozen: false }, 'thawed: new pages are taken again'],
  ['limit 512MiB', 'PUT /v1/memory', { limitBytes: 512 * MIB }, MEMORY, 'the limit is 512MiB\n'],
  [
    ...(['limit 512M', 'PUT /v1/memory', { limitBytes: 512 * MIB }] as const),
    { ...MEMORY, limitBytes: 64 * MIB, pressure: { reason: 'memory.high', psiSomeAvg10: null } },
    'the limit is 512MiB, at present 64MiB (memory.high)\n',
  ],
  ['shrink 64MiB', 'POST /v1/shrink', { bytes: 64 * MIB }, { freedBytes: 70 * MIB }, '70MiB\n'],
  [
    ...(['shrink 64MiB', 'POST /v1/shrink', { bytes: 64 * MIB }, { freedBytes: MIB }] as const),
    'gave back 1MiB of 64MiB; no more can be\n',
  ],
  ['freeable', 'GET /v1/freeable', undefined, { freeableBytes: 3 * MIB }, '3MiB\n'],
  ['snapshot', 'POST /v1/snapshot', undefined, SAVED, '1,200 pages in 1MiB'],
  [
    ...(['share a/b --weight 200', 'PUT /v1/exports/a%2Fb/share', { weight: 200 }] as const),
    { weight: 200, capBytes: 64 * MIB, minimumBytes: 0 },
    'a/b: weight 200, cap 64MiB, minimum 0B\n',
  ],
  [
    'share pool:7 --cap none --minimum 1MiB',
    'PUT /v1/pools/7/share',
    { capBytes: null, minimumBytes: MIB },
    SHARE,
    'pool:7: weight 100, cap none',
  ],
  ['share export:pool:7 --cap 1K', 'PUT /v1/exports/pool%3A7/share', { capBytes: 1024 }, SHARE, ''],
  ['flush pool:3', 'DELETE /v1/pools/3', undefined, { flushedPages: 1234 }, '1,234 pages\n'],
  ['flush pool:3 0', 'DELETE /v1/pools/3/objects/0', undefined, { flushedPages: 0 }, '0 pages\n'],
  [
    ...(['flush pool:3 4 5', 'DELETE /v1/pools/3/objects/4/pages/5', undefined] as const),
    { flushedPages: 1 },
    'dropped 1 page\n',
  ],
  [
    ...(['drain disk', 'POST /v1/exports/disk/drain', { timeoutSeconds: 60 }] as const),
    { isClean: true, dirtyBytes: 0 },
    'disk is clean\n',
  ],
];

describe.each(CASES)('tmem ctl %s', (line, route, body, json, text) => {
  test('asks the API and says what came of it', async () => {
    const { code, out, err, asked } = await run(line.split(' '), route, { json });
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(asked).toEqual([body === undefined ? route : `${route} ${JSON.stringify(body)}`]);
    expect(out).toContain(text);
  });

  test('prints the answer as it is with --json', async () => {
    const { out } = await run([...line.split(' '), '--json'], route, { json });
    expect(out).toBe(`${JSON.stringify(json)}\n`);
  });

  test('says what the service says against it', async () => {
    const refusal = problem(409, 'that cannot be done now; try later');
    const { code, out, err } = await run(line.split(' '), route, refusal);
    expect({ code, out, err }).toEqual({
      ...{ code: 2, out: '' },
      err: 'tmem: that cannot be done now; try later\n',
    });
  });
});

test('tmem ctl pools lists them in columns', async () => {
  const pools = [
    poolStatus(),
    poolStatus({
      ...{ id: 12, owner: 'shared:build', kind: 'persistent', isShared: true },
      share: { weight: 300, capBytes: 64 * MIB, minimumBytes: MIB },
    }),
  ];
  const { out } = await run(['pools'], 'GET /v1/pools', { json: { pools } });
  expect(out.split('\n')).toEqual([
    'POOL     OWNER            KIND                PAGE   PAGES  MEMORY  WEIGHT    CAP  MINIMUM',
    'pool:1   export:disk.raw  ephemeral           4KiB  51,200   80MiB     100   none       0B',
    'pool:12  shared:build     persistent, shared  4KiB  51,200   80MiB     300  64MiB     1MiB',
    '',
  ]);
});

test('tmem ctl exports lists them in columns', async () => {
  const state = { state: 'dirty', oldestSeconds: 1, failure: null } as const;
  const writeBack = { ...state, dirtyBytes: MIB, limitBytes: 2 * MIB };
  const exports = [
    exportStatus(),
    exportStatus({ name: 'a\u001b[2J', mode: 'writeback', writeBack, poolIds: [2, 3] }),
  ];
  const { out } = await run(['exports'], 'GET /v1/exports', { json: { exports } });
  expect(out.split('\n')).toEqual([
    'EXPORT    MODE           SIZE    HITS   PAGES  MEMORY  DIRTY  POOLS          IMAGE',
    'disk.raw  writethrough  16GiB  93.1 %  51,200   80MiB      –  pool:1         /srv/disk.raw',
    'a\ufffd[2J     writeback     16GiB  93.1 %  51,200   80MiB   1MiB  pool:2,pool:3  /srv/disk.raw',
    '',
  ]);
});

test('tmem ctl layers lists them in columns', async () => {
  const layers = [layerStatus({ name: 'hot', isFrozen: true, hits: 0, misses: 0 }), layerStatus()];
  const { out } = await run(['layers'], 'GET /v1/layers', { json: { layers } });
  expect(out.split('\n').slice(1)).toEqual([
    expect.stringMatching(/^hot +frozen +320MiB +120MiB +8MiB +1,000 +90,000 +9,000 +– +100$/),
    expect.stringMatching(/^zcache +open .* 60\.0 % +100$/),
    '',
  ]);
});

test.each([
  [['frezee'], 'there is no verb "frezee"; did you mean tmem ctl freeze?'],
  [['destroy'], 'there is no verb "destroy"; see tmem ctl --help'],
  [['--json'], 'no verb was given; see tmem ctl --help'],
  [['freeze', 'now'], 'too much was given; write tmem ctl freeze'],
  [['limit'], 'too little was given; write tmem ctl limit SIZE'],
  [['limit', '0'], '"0" is no memory at all; name a size above 0'],
  [['shrink', '0KiB'], '"0KiB" is no memory at all; name a size above 0'],
  [['limit', '1GB'], '"1GB" is ambiguous; write 1GiB'],
  [['limit', '1GiB', '--weight', '1'], 'there is no option --weight; see tmem ctl limit --help'],
  [['share', 'disk'], 'nothing is to be set; give --weight, --cap or --minimum'],
  [['share', '', '--weight=1'], 'the name of an export is never empty; name one'],
  [['share', 'disk', '--wieght', '1'], 'there is no option --wieght; did you mean --weight?'],
  [['share', 'disk', '--weight', '10001'], '--weight: "10001" is not a weight'],
  [['share', 'disk', '--weight', '0'], '--weight: "0" is not a weight'],
  [['share', 'pool:x', '--weight=1'], '"pool:x" is not a pool; write pool:ID'],
  [['flush', '7'], '"7" is not a pool; write pool:ID'],
  [['flush', 'pool:0'], '"pool:0" is not a pool; write pool:ID'],
  [['flush', 'pool:7', '-', '1'], '"-" is not an object; give its number'],
  [['flush', 'pool:7', '1', '1.5'], '"1.5" is not an index; give a whole number'],
  [['drain', 'disk', '--timeout', '3601'], '--timeout: "3601" is not a time; give 1 to 3600'],
])('tmem ctl refuses %j in one sentence, and asks nothing', async (args, sentence) => {
  const { code, out, err, asked } = await run(args);
  expect({ code, out, asked }).toEqual({ code: 2, out: '', asked: [] });
  expect(err).toContain(`tmem: ${sentence}`);
  expect(err.match(/\n/g)).toHaveLength(1);
});

test('options may stand before the verb, also with a value that is called as a verb', async () => {
  const admin = await ScriptedAdmin.start({ 'POST /v1/freeze': { json: { isFrozen: true } } });
  await ctl(['--token-file', 'freeze', '--help', 'freeze'], context);
  expect(context.out).toMatch(/^Usage: tmem ctl freeze /);
  expect(await ctl(['--json', '--admin', admin.address, 'freeze'], context)).toBe(0);
  expect(admin.asked).toEqual(['POST /v1/freeze']);
});

test.each<[args: string[], asked: string]>([
  [['pools'], 'GET /v1/pools'],
  [['exports'], 'GET /v1/exports'],
  [['layers'], 'GET /v1/layers'],
  [['freeze'], 'POST /v1/freeze'],
  [['limit', '1GiB'], 'PUT /v1/memory'],
  [['shrink', '1MiB'], 'POST /v1/shrink'],
  [['freeable'], 'GET /v1/freeable'],
  [['snapshot'], 'POST /v1/snapshot'],
  [['share', 'disk', '--weight', '3'], 'PUT /v1/exports/disk/share'],
  [['flush', 'pool:1'], 'DELETE /v1/pools/1'],
  [['drain', 'disk'], 'POST /v1/exports/disk/drain'],
])('%s: what another version or program answers is no defect of this one', async (args, asked) => {
  const list = asked.split('/').at(-1) ?? '';
  for (const json of [{}, null, 'ok', { [list]: 7 }, { [list]: [{ name: 'x', id: 1 }] }]) {
    const { code, err } = await run(args, asked, { json });
    expect(code).toBe(2);
    const said = err.trim().split('\n').at(-1);
    expect(said).toMatch(/^tmem: what answers at unix:.* is not the admin API of this version/);
  }
});

test('a service that is not there is told with how to start one', async () => {
  const code = await main(['ctl', 'freeze', '--admin', 'unix:/none/admin.sock'], context);
  expect(code).toBe(1);
  expect(context.err).toMatch(/^tmem: cannot reach .*; start it with tmem serve, or name.*\n$/);
});

test.each(VERBS.map(({ name }) => name))('tmem ctl %s --help explains it', async (name) => {
  expect(await main(['ctl', name, '--help'], context)).toBe(0);
  expect(context.out).toMatch(new RegExp(`^Usage: tmem ctl ${name}\\b.*\\n\\n[A-Z]`));
  for (const line of context.out.split('\n')) expect(line.length, line).toBeLessThan(101);
});

test('tmem ctl --help lists every verb, and help leads to a verb', async () => {
  await main(['ctl', '--help'], context);
  for (const { name, summary } of VERBS) {
    expect(context.out).toMatch(new RegExp(`^ {2}${name}\\b`, 'm'));
    expect(context.out).toContain(summary);
  }
  context.out = '';
  await main(['help', 'ctl', 'drain'], context);
  expect(context.out).toMatch(/^Usage: tmem ctl drain EXPORT /);
});

describe('tmem ctl drain', () => {
  const drained = { json: { isClean: true, dirtyBytes: 0 } };

  /** A service that is clean after it was asked `looks` times how much is dirty. */
  async function startDraining(looks: number) {
    let left = looks;
    let finish = (): void => undefined;
    return ScriptedAdmin.start({
      'POST /v1/exports/disk/drain': (_, response) => {
        finish = () => {
          finish = () => undefined;
          response.writeHead(200, { 'content-type': 'application/json' });
          response.end(JSON.stringify(drained.json));
        };
        if (left === 0) finish();
        return undefined;
      },
      'GET /v1/status': () => {
        const dirtyBytes = left * MIB;
        left = Math.max(0, left - 1);
        if (left === 0) finish();
        const state = { limitBytes: 64 * MIB, state: 'writing', oldestSeconds: 1 } as const;
        const writeBack = { ...state, dirtyBytes, failure: null };
        return { json: serviceStatus({ exports: [exportStatus({ name: 'disk', writeBack })] }) };
      },
    });
  }

  const clock: Clock = { nowMs: () => 0, pause: () => Promise.resolve() };

  test('shows on a terminal how much is left, and leaves nothing of it', async () => {
    const admin = await startDraining(3);
    context = Object.assign(new ScriptedContext(), { isTerminal: true });
    expect(await ctl(['drain', 'disk', '--admin', admin.address], context, clock)).toBe(0);
    expect(context.err).toContain(`\r\u001b[K${'░'.repeat(24)}  3MiB dirty`);
    expect(context.err).toContain(`\r\u001b[K████████${'░'.repeat(16)}  2MiB dirty`);
    expect(context.err.endsWith('\r\u001b[K')).toBe(true);
    expect(context.out).toBe('disk is clean\n');
  });

  test('is silent elsewhere until it is done', async () => {
    const admin = await startDraining(0);
    await ctl(['drain', 'disk', '--admin', admin.address], context, clock);
    expect(context.err).toBe('');
    expect(admin.asked).toHaveLength(1);
  });

  test('that takes too long says how much is left and what to do', async () => {
    const json = { title: 'Gateway Timeout', status: 504, detail: 'see', dirtyBytes: 12 * MIB };
    const answer = { status: 504, type: 'application/problem+json', json };
    const args = ['drain', 'disk', '--timeout', '5'];
    const { code, err } = await run(args, 'POST /v1/exports/disk/drain', answer);
    expect(code).toBe(1);
    expect(err).toBe(
      'tmem: 12MiB of what was written to disk is not on its image after 5 s; ' +
        'have its clients pause, give it longer with --timeout, or ask tmem status why\n',
    );
  });
});
