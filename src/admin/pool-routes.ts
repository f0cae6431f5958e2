/** The data plane: pools of pages for other programs, and what an operator may do to any pool. */

import { isRefused, MISS, REPLACED } from '../tmem/layer.ts';
import type { Controls } from './controls.ts';
import type { Call } from './http/call.ts';
import { GRANT_KEY_HEADER, POOL_KEY_HEADER } from './http/parameters.ts';
import { Problem } from './http/problem.ts';
import { type Answer, ok, type Route } from './http/router.ts';
import { BATCH_BYTES_MAX, BATCH_FORM, checkBatch, runBatch } from './pools/batch.ts';
import { type ClientPool, type ClientPools, unknownPool } from './pools/client-pools.ts';
import {
  CALL_BYTES_MAX,
  getObject,
  missing,
  pagesInRow,
  putObject,
  refusal,
} from './pools/pool-pages.ts';
import { poolRequest } from './schemas.ts';

const POOL = '/v1/pools/{id}';
const OBJECT = `${POOL}/objects/{object}`;
const PAGE = `${OBJECT}/pages/{index}`;

const NO_POOL = 'There is no such pool of a client.';
const NOT_HELD = 'There is no such pool of a client, or it does not hold the page.';
const REFUSED = 'A page was refused, for the reason that the document names.';

export function poolRoutes(controls: Controls, pools: ClientPools): readonly Route[] {
  return [
    {
      method: 'POST',
      path: '/v1/pools',
      operationId: 'createPool',
      plane: 'data',
      summary: 'Makes a pool, and the key to it.',
      description:
        'An ephemeral pool may lose any page at any time. A persistent one keeps what it took ' +
        'until it is flushed, in memory only: when the service ends, every pool ends.',
      headers: { [GRANT_KEY_HEADER]: 'The key of the grant, to join a shared pool.' },
      body: { schema: 'PoolRequest' },
      answer: { status: 201, says: 'The pool.', schema: 'PoolCreated' },
      problems: { 507: 'There are too many pools, of this client or of all.' },
      handle: (call) => create(pools, call),
    },
    ...droppingRoutes(controls, pools),
    ...pageRoutes(pools),
    ...objectRoutes(pools),
  ];
}

function droppingRoutes(controls: Controls, pools: ClientPools): readonly Route[] {
  const dropping = {
    method: 'DELETE',
    plane: 'data',
    poolKey: 'optional',
    answer: { status: 200, says: 'How many pages went.', schema: 'Flushed' },
    problems: {
      404: 'There is no such pool.',
      409: 'Its pages are not yet on the image of an export: drain the export instead.',
    },
  } as const;
  return [
    {
      ...dropping,
      path: POOL,
      operationId: 'destroyPool',
      summary: 'Ends a pool.',
      description:
        'With the key it ends for whoever has that key. Without it, which is for the one who ' +
        'runs the service, a pool of clients ends for all of them, and the pool of an export ' +
        'loses its pages and stays.',
      handle: async (call) => flushed(await dropPool(controls, pools, call)),
    },
    {
      ...dropping,
      path: OBJECT,
      operationId: 'flushObject',
      summary: 'Drops the pages of an object, with the key or without.',
      handle: (call) => {
        const { id, object } = namesOf(call);
        const view = viewToDropFrom(pools, call);
        return flushed(view?.pool.flushObject(object) ?? controls.flushObject(id, object));
      },
    },
    {
      ...dropping,
      path: PAGE,
      operationId: 'flushPage',
      summary: 'Drops a page, with the key or without.',
      handle: (call) => {
        const { id, object, index } = namesOf(call);
        const view = viewToDropFrom(pools, call);
        if (view === undefined) return flushed(controls.flushPage(id, object, index));
        return flushed(view.pool.flushPage(object, index) ? 1 : 0);
      },
    },
  ];
}

function pageRoutes(pools: ClientPools): readonly Route[] {
  return [
    {
      ...data('PUT', PAGE, 'putPage', 'Offers a page.'),
      description: 'After a refusal no older version of the page is held any more.',
      body: { bytes: 'The page: exactly as many bytes as the pages of the pool have.' },
      answer: { status: 200, says: 'It is held.', schema: 'PutOutcome' },
      problems: { 404: NO_POOL, 507: REFUSED },
      handle: async (call) => {
        const view = viewOf(pools, call);
        const { object, index } = namesOf(call);
        const { pageBytes } = view.pool;
        checkLength(call, (bytes) => bytes === pageBytes, `exactly ${pageBytes} bytes, one page`);
        const body = await bodyFor(view, call, pageBytes);
        const outcome = pools.put(view, object, index, body);
        if (isRefused(outcome)) throw refusal(outcome, index, 'no older version of it is held');
        return ok({ outcome: outcome === REPLACED ? 'replaced' : 'stored' });
      },
    },
    {
      ...data('GET', PAGE, 'getPage', 'Asks for a page.'),
      query: ['exclusive'],
      answer: { status: 200, says: 'It is held, and this is it.', bytes: 'The page.' },
      problems: { 404: NOT_HELD },
      handle: (call) => {
        const { pool } = viewOf(pools, call);
        const { object, index } = namesOf(call);
        call.reserve(pool.pageBytes);
        const bytes = Buffer.allocUnsafe(pool.pageBytes);
        if (pool.get(object, index, bytes) === MISS) throw missing(object, index);
        if (call.query('exclusive') === 'true') pool.flushPage(object, index);
        return { status: 200, bytes };
      },
    },
  ];
}

function objectRoutes(pools: ClientPools): readonly Route[] {
  return [
    {
      ...data('PUT', OBJECT, 'putObject', 'Offers an object: its pages from index 0 on.'),
      description:
        'The object has these pages afterwards and no others. When one of them is refused it has ' +
        `no page at all. At most ${CALL_BYTES_MAX} bytes.`,
      body: { bytes: 'Pages of the pool, one after another.' },
      answer: { status: 200, says: 'All pages are held.', schema: 'ObjectStored' },
      problems: { 404: NO_POOL, 507: REFUSED },
      handle: async (call) => {
        const view = viewOf(pools, call);
        const { pageBytes } = view.pool;
        const areWhole = (bytes: number): boolean => bytes > 0 && bytes % pageBytes === 0;
        checkLength(call, areWhole, `a multiple of ${pageBytes} bytes, whole pages`);
        const body = await bodyFor(view, call, CALL_BYTES_MAX);
        return ok({ pages: await putObject(pools, view, namesOf(call).object, body) });
      },
    },
    {
      ...data('GET', OBJECT, 'getObject', 'Asks for pages of an object, from index 0 on.'),
      description:
        'With `count` all of so many pages, or none. Without it as many as are held in a row, ' +
        `up to ${CALL_BYTES_MAX} bytes.`,
      query: ['count'],
      answer: { status: 200, says: 'The pages.', bytes: 'Pages, one after another.' },
      problems: { 404: NOT_HELD, 413: 'This service has no buffers for so many pages.' },
      handle: async (call) => {
        const view = viewOf(pools, call);
        const { object } = namesOf(call);
        const countMax = CALL_BYTES_MAX / view.pool.pageBytes;
        const count = Number(call.query('count') ?? countMax);
        if (count > countMax) throw new Problem(400, `count must be at most ${countMax} here`);
        const atLeast = call.query('count') === undefined ? 1 : count;
        const inRow = pagesInRow(view, object, count);
        // In an exclusive pool a get takes pages out: none does unless all are there.
        if (inRow < atLeast) throw missing(object, inRow);
        const { pageBytes } = view.pool;
        call.reserve(inRow * pageBytes);
        const bytes = Buffer.allocUnsafe(inRow * pageBytes);
        const copied = await getObject(view, object, bytes); // some may have left meanwhile
        if (copied < atLeast) throw missing(object, copied);
        return { status: 200, bytes: bytes.subarray(0, copied * pageBytes) };
      },
    },
    {
      ...data('POST', `${POOL}/batch`, 'runBatch', 'Many puts, gets and flushes in one call.'),
      description: BATCH_FORM,
      body: { bytes: 'Items, as described above.' },
      answer: { status: 200, says: 'Every item was done or refused.', bytes: 'Their results.' },
      problems: { 404: NO_POOL },
      handle: async (call) => {
        const view = viewOf(pools, call);
        const body = await bodyFor(view, call, BATCH_BYTES_MAX);
        const answerBytesMax = checkBatch(body, view.pool.pageBytes);
        call.reserve(answerBytesMax);
        const answer = Buffer.allocUnsafe(answerBytesMax);
        const length = await runBatch(pools, view, body, answer);
        return { status: 200, bytes: answer.subarray(0, length) };
      },
    },
  ];
}

function data<Method extends Route['method']>(
  method: Method,
  path: string,
  operationId: string,
  summary: string,
) {
  return { method, path, operationId, summary, plane: 'data', poolKey: 'required' } as const;
}

async function create(pools: ClientPools, call: Call): Promise<Answer> {
  const request = await call.json(poolRequest);
  const { pool, key } = pools.create(request, call.header(GRANT_KEY_HEADER));
  const { id, pageBytes, isExclusive, isShared } = pool;
  return {
    status: 201,
    json: { id, key, kind: request.kind, pageBytes, isExclusive, isShared },
    headers: { location: `/v1/pools/${id}` },
  };
}

async function dropPool(controls: Controls, pools: ClientPools, call: Call): Promise<number> {
  const id = call.number('id');
  const key = call.header(POOL_KEY_HEADER);
  const views = key === undefined ? pools.viewsOf(id) : [pools.open(id, key)];
  if (views.length === 0) return controls.flushPool(id);
  const flushedPages = await Promise.all(views.map((view) => pools.destroy(view)));
  return flushedPages.reduce((a, b) => a + b, 0);
}

/** The pool of a call that must show its key. */
function viewOf(pools: ClientPools, call: Call): ClientPool {
  return pools.open(call.number('id'), call.header(POOL_KEY_HEADER));
}

/** The pool of a call that drops something; none for a pool that is no client's. */
function viewToDropFrom(pools: ClientPools, call: Call): ClientPool | undefined {
  if (call.header(POOL_KEY_HEADER) !== undefined) return viewOf(pools, call);
  return pools.viewsOf(call.number('id'))[0];
}

function namesOf(call: Call) {
  return { id: call.number('id'), object: call.number('object'), index: call.number('index') };
}

/** Throws a Problem, before a byte is read, for a body whose length is not as it must be. */
function checkLength(call: Call, isRight: (bytes: number) => boolean, must: string): void {
  const bytes = call.neededBytes;
  if (!isRight(bytes)) throw new Problem(400, `the body has ${bytes} bytes; it must have ${must}`);
}

/** The body of a call on a pool, which may be gone when the body has come. */
async function bodyFor(view: ClientPool, call: Call, bytesMax: number): Promise<Buffer> {
  const body = await call.bytes(bytesMax);
  if (!view.isOpen) throw unknownPool(view.pool.id);
  return body;
}

function flushed(flushedPages: number): Answer {
  return ok({ flushedPages });
}
