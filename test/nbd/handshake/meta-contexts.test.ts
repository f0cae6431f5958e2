import { describe, expect, test } from 'vitest';
import { BASE_ALLOCATION_ID, META_CONTEXTS } from '../../../src/nbd/meta-contexts.ts';
import { Option, OptionReply } from '../../../src/nbd/protocol.ts';
import {
  directoryOf,
  exportOf,
  info,
  meta,
  option,
  ScriptedClient,
  u32,
} from './scripted-client.ts';

const { ACK, META_CONTEXT, ERR_INVALID, ERR_UNKNOWN, ERR_TOO_BIG } = OptionReply;
const LIST = Option.LIST_META_CONTEXT;
const SET = Option.SET_META_CONTEXT;
const ALLOCATION = { id: BASE_ALLOCATION_ID, name: 'base:allocation' };

function structuredClient(): ScriptedClient {
  const client = new ScriptedClient(directoryOf(exportOf('disk'), exportOf('other')));
  client.ask(Option.STRUCTURED_REPLY);
  return client;
}

/** What is selected once transmission begins. */
function contextsAfterGo(client: ScriptedClient, name = 'disk') {
  client.ask(Option.GO, info(name));
  return client.handshake.result?.metaContexts;
}

test('context ids are unique', () => {
  expect(new Set(META_CONTEXTS.map(({ id }) => id)).size).toBe(META_CONTEXTS.length);
});

describe('LIST_META_CONTEXT', () => {
  test.each([
    ['the wildcard', ['base:']],
    ['the name', ['base:allocation']],
    ['both, and unknown ones', ['x-no:thing', 'base:allocation', 'base:', 'base:nothing']],
  ])('with %s lists the context once, with id 0', (_, queries) => {
    const [first, ...rest] = structuredClient().ask(LIST, meta('disk', ...queries));
    expect(first?.data).toEqual(Buffer.concat([u32(0), Buffer.from('base:allocation')]));
    expect(rest).toMatchObject([{ option: LIST, type: ACK }]);
  });

  test('with no query lists every context', () => {
    const names = structuredClient()
      .ask(LIST, meta('disk'))
      .map(({ data }) => data.subarray(4).toString());
    expect(names).toEqual(['base:allocation', 'qemu:allocation-depth', '']);
  });

  test.each(['qem:', 'x-no:thing', 'base:alloc', 'base', ''])(
    'ignores the query "%s", which is an ACK alone',
    (query) => {
      expect(structuredClient().typesOf(LIST, meta('disk', query))).toEqual([ACK]);
    },
  );

  test('needs no structured replies and selects nothing', () => {
    const client = new ScriptedClient();
    expect(client.typesOf(LIST, meta('disk'))).toEqual([META_CONTEXT, META_CONTEXT, ACK]);
    expect(contextsAfterGo(client)).toEqual([]);
  });
});

describe('SET_META_CONTEXT', () => {
  test('selects the context that it names, under the id of the result', () => {
    const client = structuredClient();
    const [first] = client.ask(SET, meta('disk', 'base:allocation', 'base:allocation'));
    expect(first?.data).toEqual(Buffer.concat([u32(ALLOCATION.id), Buffer.from(ALLOCATION.name)]));
    expect(contextsAfterGo(client)).toEqual([ALLOCATION]);
  });

  test('counts before EXPORT_NAME too', () => {
    const client = structuredClient();
    client.ask(SET, meta('disk', 'base:allocation'));
    client.send(option(Option.EXPORT_NAME, 'disk'));
    expect(client.handshake.result?.metaContexts).toEqual([ALLOCATION]);
  });

  test.each([[[]], [['base:']], [['base:nothing']], [['x-no:thing', 'nocolon']]])(
    'selects nothing for %j',
    (queries) => {
      const client = structuredClient();
      expect(client.typesOf(SET, meta('disk', ...queries))).toEqual([ACK]);
      expect(contextsAfterGo(client)).toEqual([]);
    },
  );

  test('is INVALID before structured replies', () => {
    const client = new ScriptedClient();
    expect(client.typesOf(SET, meta('disk', 'base:allocation'))).toEqual([ERR_INVALID]);
    client.ask(Option.STRUCTURED_REPLY);
    expect(contextsAfterGo(client)).toEqual([]);
  });

  test.each(['other', ''])('counts only for the name it was sent with, not for "%s"', (name) => {
    const client = structuredClient();
    client.ask(SET, meta('disk', 'base:allocation'));
    expect(contextsAfterGo(client, name)).toEqual([]);
  });

  test.each([
    ['another selection', meta('disk'), ACK],
    ['an unknown export', meta('nowhere', 'base:allocation'), ERR_UNKNOWN],
    ['malformed data', Buffer.from('?'), ERR_INVALID],
    [
      'too many queries',
      meta('disk', ...new Array<string>(65).fill('base:allocation')),
      ERR_TOO_BIG,
    ],
    ['too much data', Buffer.alloc(64 * 1024 + 1), ERR_TOO_BIG],
  ])('forgets an earlier selection at %s', (_, data, type) => {
    const client = structuredClient();
    client.ask(SET, meta('disk', 'base:allocation'));
    expect(client.typesOf(SET, data)).toEqual([type]);
    expect(contextsAfterGo(client)).toEqual([]);
  });
});

describe('metadata queries', () => {
  test.each([
    ['no data', Buffer.alloc(0)],
    ['no query count', u32(0)],
    ['a name longer than the data', Buffer.concat([u32(5), Buffer.from('disk')])],
    ['fewer queries than counted', Buffer.concat([u32(0, 2, 5), Buffer.from('base:')])],
    ['a count that would take 16 GiB', u32(0, 0xffffffff)],
    ['a query longer than the data', Buffer.concat([u32(0, 1, 0xfffffffc), Buffer.from('base:')])],
    ['bytes after the last query', Buffer.concat([meta('', 'base:'), Buffer.from([0])])],
    ['a name of 4097 bytes', meta('n'.repeat(4097))],
    ['a query of 4097 bytes', meta('', `x-long:${'q'.repeat(4090)}`)],
    ['a query that is not UTF-8', meta('', Buffer.from([0x80]))],
    ['a query with a NUL', meta('', 'base:\0')],
  ])('are INVALID with %s', (_, data) => {
    const client = structuredClient();
    expect(client.typesOf(LIST, data)).toEqual([ERR_INVALID]);
    expect(client.typesOf(SET, data)).toEqual([ERR_INVALID]);
  });

  test('are at most 64', () => {
    const queries = new Array<string>(64).fill('base:');
    const client = structuredClient();
    expect(client.typesOf(LIST, meta('disk', ...queries))).toEqual([META_CONTEXT, ACK]);
    expect(client.typesOf(LIST, meta('disk', ...queries, 'base:'))).toEqual([ERR_TOO_BIG]);
  });

  test('for an export that is not served are UNKNOWN', () => {
    expect(structuredClient().typesOf(LIST, meta('nowhere'))).toEqual([ERR_UNKNOWN]);
  });
});
