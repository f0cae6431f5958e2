import { expect, test } from 'vitest';
import { ApiDocument } from './api-document.ts';
import { page, startAdmin } from './fixture.ts';

/** What clients may count on. A route that is not here is not tested; one that is gone is missed. */
const OPERATIONS = [
  'DELETE /v1/grants/{client}/{sharedName}',
  'DELETE /v1/pools/{id}',
  'DELETE /v1/pools/{id}/objects/{object}',
  'DELETE /v1/pools/{id}/objects/{object}/pages/{index}',
  'DELETE /v1/record',
  'GET /openapi.json',
  'GET /v1/exports',
  'GET /v1/exports/{name}',
  'GET /v1/freeable',
  'GET /v1/layers',
  'GET /v1/pools',
  'GET /v1/pools/{id}/objects/{object}',
  'GET /v1/pools/{id}/objects/{object}/pages/{index}',
  'GET /v1/record',
  'GET /v1/status',
  'POST /v1/exports/{name}/check',
  'POST /v1/exports/{name}/drain',
  'POST /v1/freeze',
  'POST /v1/pools',
  'POST /v1/pools/{id}/batch',
  'POST /v1/record',
  'POST /v1/shrink',
  'POST /v1/snapshot',
  'POST /v1/thaw',
  'PUT /v1/exports/{name}/share',
  'PUT /v1/grants/{client}/{sharedName}',
  'PUT /v1/memory',
  'PUT /v1/pools/{id}/objects/{object}',
  'PUT /v1/pools/{id}/objects/{object}/pages/{index}',
  'PUT /v1/pools/{id}/share',
];

async function documentOf({ send }: Awaited<ReturnType<typeof startAdmin>>): Promise<ApiDocument> {
  return new ApiDocument((await send('GET', '/openapi.json')).json);
}

/** A path of the template with something in the place of each name. */
function example(template: string): string {
  const values: Record<string, string> = { name: 'disk', client: 'c', sharedName: 's' };
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => values[name] ?? '1');
}

test('the document describes exactly the operations there are', async () => {
  const admin = await startAdmin();
  const api = await documentOf(admin);
  expect(api.document.openapi).toBe('3.1.1');
  expect(api.operations.toSorted()).toEqual(OPERATIONS);
  const ids = OPERATIONS.map((operation) => {
    const [method = '', template = ''] = operation.split(' ');
    return api.operationOf(method, example(template))?.operationId;
  });
  expect(new Set(ids).size).toBe(OPERATIONS.length);
});

test.each(OPERATIONS)('%s is served as it is described', async (operation) => {
  const admin = await startAdmin();
  const [method = '', template = ''] = operation.split(' ');
  const described = (await documentOf(admin)).operationOf(method, example(template));
  const takes = Object.keys(described?.requestBody?.content ?? {});
  const extras = takes.includes('application/json') ? { json: {} } : {};
  // What a route answers to next to nothing differs; that it is there, and in its own words, not.
  const { status } = await admin.ask(method, example(template), extras);
  expect(status).not.toBe(405);
});

test('a path has the methods of the document and no other', async () => {
  const admin = await startAdmin();
  const api = await documentOf(admin);
  for (const [template, item] of Object.entries(api.document.paths)) {
    const { status, headers } = await admin.send('PATCH', example(template));
    expect(status).toBe(405);
    const allowed = (headers.allow ?? '').split(', ').filter((method) => method !== 'HEAD');
    expect(allowed.toSorted()).toEqual(
      Object.keys(item)
        .map((name) => name.toUpperCase())
        .toSorted(),
    );
  }
});

test('every name in a path is described, and nothing else is said to be in it', async () => {
  const api = await documentOf(await startAdmin());
  for (const [template, item] of Object.entries(api.document.paths)) {
    const names = [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    for (const { parameters } of Object.values(item)) {
      expect(parameters.filter((each) => each.in === 'path').map((each) => each.name)).toEqual(
        names,
      );
    }
  }
});

test('every reference of the document leads to a schema of it', async () => {
  const { document } = await documentOf(await startAdmin());
  const references = JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g);
  const named = new Set([...references].map(([, name]) => name));
  expect([...named].toSorted()).toEqual(
    expect.arrayContaining(['Problem', 'ServiceStatus', 'ShareStatus']),
  );
  for (const name of named) expect(Object.keys(document.components.schemas)).toContain(name);
});

test('with a token the document asks for it, without one it does not', async () => {
  const token = '0123456789abcdef';
  const withToken = await documentOf(await startAdmin({ token }));
  expect(withToken.operationOf('GET', '/v1/status')?.security).toEqual([{ token: [] }]);
  const without = await documentOf(await startAdmin());
  expect(without.operationOf('GET', '/v1/status')?.security).toEqual([{}]);
  expect(without.operationOf('PUT', '/v1/pools/1/objects/1')?.security).toEqual([{ poolKey: [] }]);
});

test('HEAD answers as GET without a body, but takes no page out of a pool', async () => {
  const { ask, makePool } = await startAdmin();
  const { status, bytes, headers } = await ask('HEAD', '/v1/status');
  expect([status, bytes.length]).toEqual([200, 0]);
  expect(Number(headers['content-length'])).toBeGreaterThan(100);
  const { path, key } = await makePool({ isExclusive: true });
  const place = `${path}/objects/1/pages/0`;
  await ask('PUT', place, { key, bytes: page(1) });
  expect((await ask('HEAD', place, { key })).status).toBe(405);
  expect((await ask('GET', place, { key })).bytes).toEqual(page(1));
});

test('HEAD changes nothing: a web page may ask, and so may anyone while the service stops', async () => {
  const { ask } = await startAdmin({ parts: { isStopping: () => true } });
  const headers = { origin: 'http://localhost' };
  expect((await ask('HEAD', '/v1/status', { headers })).status).toBe(200);
});
