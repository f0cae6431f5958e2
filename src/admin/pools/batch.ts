/** Many operations on one pool in one request, in a binary form. */

import { PAGE_BYTES_MIN } from '../../lib/page-bytes.ts';
import { readUInt64BE } from '../../lib/uint64.ts';
import { isRefused, MISS, PUT_OUTCOME_NAMES, REFUSED_FROZEN } from '../../tmem/layer.ts';
import { Problem } from '../http/problem.ts';
import type { ClientPool, ClientPools } from './client-pools.ts';
import { CALL_BYTES_MAX, Slices } from './pool-pages.ts';

const REASONS = PUT_OUTCOME_NAMES.map((name, number) => `${number} ${name}`)
  .slice(REFUSED_FROZEN)
  .join(', ');

/** The form, for the API's document. */
export const BATCH_FORM = `All numbers are big-endian. The request is a row of at most 1024 items, with
at most 4 MiB of pages asked for and offered together. Each item begins with 16 bytes:

| byte | length | what |
|---|---|---|
| 0 | 1 | 1 put, 2 get, 3 exclusive get, 4 flush page, 5 flush object |
| 1 | 3 | 0 |
| 4 | 4 | index of the page; 0 for flush object |
| 8 | 8 | object, at most 2^53 - 1 |

A put goes on with the bytes of its page. The answer has 8 bytes for each item, in order:

| byte | length | what |
|---|---|---|
| 0 | 1 | the operation, as asked |
| 1 | 1 | 0 done, 1 not held (of a get), 2 refused (of a put) |
| 2 | 2 | 0 |
| 4 | 4 | of a get: bytes of the page, which follow; of a put: 0 stored, 1 replaced, or the reason of the refusal: ${REASONS}; of a flush: how many pages went |

The request is checked as a whole before anything of it is done. After a refused put no older page of
that name is held, and the items behind it are done all the same.`;

const ITEM_BYTES = 16;
const RESULT_BYTES = 8;
const ITEM_COUNT_MAX = CALL_BYTES_MAX / PAGE_BYTES_MIN;
/** The longest request, bytes. */
export const BATCH_BYTES_MAX = CALL_BYTES_MAX + ITEM_COUNT_MAX * ITEM_BYTES;

const PUT = 1;
const GET = 2;
const EXCLUSIVE_GET = 3;
const FLUSH_PAGE = 4;
const FLUSH_OBJECT = 5;

const DONE = 0;
const NOT_HELD = 1;
const REFUSED = 2;

/** 2^53 - 1 has these upper 32 bits. */
const OBJECT_HIGH_MAX = 0x1fffff;

/**
 * Checks a whole request, and answers how many bytes its answer has at most. Throws a Problem that
 * names the item which is not as it must be.
 */
export function checkBatch(body: Buffer, pageBytes: number): number {
  let itemCount = 0;
  let answerBytesMax = 0;
  let pagesBytes = 0;
  for (let at = 0; at < body.length; itemCount++) {
    if (itemCount === ITEM_COUNT_MAX) {
      throw new Problem(413, `a batch has at most ${ITEM_COUNT_MAX} items; send several`);
    }
    const operation = checkItem(body, at, itemCount);
    const carries = operation === PUT ? pageBytes : 0;
    const answers = operation === GET || operation === EXCLUSIVE_GET ? pageBytes : 0;
    at += ITEM_BYTES + carries;
    if (at > body.length) throw wrong(itemCount, `its page must have ${pageBytes} bytes`);
    pagesBytes += carries + answers;
    answerBytesMax += RESULT_BYTES + answers;
  }
  if (pagesBytes > CALL_BYTES_MAX) {
    throw new Problem(
      413,
      `a batch carries at most ${CALL_BYTES_MAX} bytes of pages; send several`,
    );
  }
  return answerBytesMax;
}

/** Does what a checked request says, item by item; writes the answer, and says how long it is. */
export async function runBatch(
  pools: ClientPools,
  view: ClientPool,
  body: Buffer,
  answer: Buffer,
): Promise<number> {
  const { pageBytes } = view.pool;
  const slices = new Slices(view);
  let end = 0;
  for (let at = 0; at < body.length; ) {
    if (slices.isDue) await slices.turn();
    end = runItem({ pools, view, body, answer }, at, end);
    slices.count();
    at += ITEM_BYTES + (body[at] === PUT ? pageBytes : 0);
  }
  return end;
}

interface Run {
  readonly pools: ClientPools;
  readonly view: ClientPool;
  readonly body: Buffer;
  readonly answer: Buffer;
}

/** Does one item, and answers where the answer ends now. */
function runItem({ pools, view, body, answer }: Run, at: number, answerAt: number): number {
  const { pool } = view;
  const operation = body[at] ?? 0;
  const index = body.readUInt32BE(at + 4);
  const object = readUInt64BE(body, at + 8);
  const dataAt = answerAt + RESULT_BYTES;
  let outcome = DONE;
  let value = 0;
  if (operation === PUT) {
    const answered = pools.put(view, object, index, body, at + ITEM_BYTES);
    if (isRefused(answered)) outcome = REFUSED;
    value = answered;
  } else if (operation === FLUSH_PAGE) {
    value = pool.flushPage(object, index) ? 1 : 0;
  } else if (operation === FLUSH_OBJECT) {
    value = pool.flushObject(object);
  } else if (pool.get(object, index, answer, dataAt) === MISS) {
    outcome = NOT_HELD;
  } else {
    value = pool.pageBytes;
    if (operation === EXCLUSIVE_GET) pool.flushPage(object, index);
  }
  answer[answerAt] = operation;
  answer[answerAt + 1] = outcome;
  answer.writeUInt16BE(0, answerAt + 2);
  answer.writeUInt32BE(value, answerAt + 4);
  const isFollowed = outcome === DONE && (operation === GET || operation === EXCLUSIVE_GET);
  return dataAt + (isFollowed ? pool.pageBytes : 0);
}

/** Checks the 16 bytes of an item; answers its operation. */
function checkItem(body: Buffer, at: number, number: number): number {
  if (at + ITEM_BYTES > body.length) throw wrong(number, `it must begin with ${ITEM_BYTES} bytes`);
  const first = body.readUInt32BE(at);
  const operation = first >>> 24;
  if (operation < PUT || operation > FLUSH_OBJECT) {
    throw wrong(number, `${operation} is no operation; they are 1 to 5`);
  }
  if ((first & 0xffffff) !== 0) throw wrong(number, 'its bytes 1 to 3 must be 0');
  if (operation === FLUSH_OBJECT && body.readUInt32BE(at + 4) !== 0) {
    throw wrong(number, 'the index of a flush object must be 0');
  }
  if (body.readUInt32BE(at + 8) > OBJECT_HIGH_MAX) {
    throw wrong(number, 'its object must be at most 2^53 - 1');
  }
  return operation;
}

function wrong(number: number, advice: string): Problem {
  return new Problem(400, `item ${number} of the batch is wrong: ${advice}`);
}
