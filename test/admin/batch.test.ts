import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { PUT_OUTCOME_NAMES } from '../../src/tmem/layer.ts';
import { type BatchItem, decodeResults, encodeBatch, encodeItem } from './batch-form.ts';
import { MIB, PAGE, page, startAdmin } from './fixture.ts';

async function startPool(request: object = {}, memoryBytes = 8 * MIB) {
  const admin = await startAdmin({ memoryBytes });
  const { path, key } = await admin.makePool(request);
  const post = (bytes: Buffer) => admin.ask('POST', `${path}/batch`, { key, bytes });
  const run = async (...items: BatchItem[]) => {
    const { status, bytes } = await post(encodeBatch(items));
    expect(status).toBe(200);
    return decodeResults(bytes);
  };
  return { ...admin, path, key, post, run };
}

test('a batch answers every item, in order', async () => {
  const { run } = await startPool();
  const object = 2 ** 53 - 1;
  const results = await run(
    { do: 'put', object, index: 0xffffffff, page: page(1) },
    { do: 'put', object, index: 0xffffffff, page: page(2) },
    { do: 'get', object, index: 0xffffffff },
    { do: 'take', object, index: 0xffffffff },
    { do: 'get', object, index: 0xffffffff },
    { do: 'put', object, index: 1, page: page(3) },
    { do: 'put', object, index: 2, page: page(4) },
    { do: 'flushPage', object, index: 1 },
    { do: 'flushPage', object, index: 1 },
    { do: 'flushObject', object },
  );
  expect(results.map(({ operation, outcome, value }) => [operation, outcome, value])).toEqual([
    [1, 0, 0],
    [1, 0, 1],
    [2, 0, PAGE],
    [3, 0, PAGE],
    [2, 1, 0],
    [1, 0, 0],
    [1, 0, 0],
    [4, 0, 1],
    [4, 0, 0],
    [5, 0, 1],
  ]);
  expect(results[2]?.page).toEqual(page(2));
  expect(results[3]?.page).toEqual(page(2));
});

test('a refused item says why, leaves no older page, and the others are done', async () => {
  const { run, post, path, key, ask } = await startPool({ kind: 'persistent' }, 4 * MIB);
  await run({ do: 'put', object: 9, index: 0, page: page(1) });
  const fill: BatchItem[] = Array.from({ length: 1000 }, (_, index) => {
    return { do: 'put', object: 1, index, page: randomBytes(PAGE) };
  });
  const { bytes } = await post(
    encodeBatch([...fill, { do: 'put', object: 9, index: 0, page: page(2) }]),
  );
  const results = decodeResults(bytes);
  const refused = results.filter(({ outcome }) => outcome === 2);
  expect(refused.length).toBeGreaterThan(10);
  for (const { value } of refused) expect(PUT_OUTCOME_NAMES[value]).toBe('limit');
  expect(results.at(-1)?.outcome).toBe(2);
  expect((await ask('GET', `${path}/objects/9/pages/0`, { key })).status).toBe(404);
  for (const [index, { outcome }] of results.entries()) {
    const item = fill[index];
    if (item?.do !== 'put') continue;
    const got = await ask('GET', `${path}/objects/1/pages/${index}`, { key });
    if (outcome === 0) expect(got.bytes.equals(item.page)).toBe(true);
    else expect(got.status).toBe(404);
  }
});

const PUT = encodeItem({ do: 'put', object: 1, index: 0, page: page(1) });
const withByte = (at: number, value: number): Buffer => {
  const item = Buffer.from(encodeItem({ do: 'get', object: 1, index: 0 }));
  item[at] = value;
  return item;
};

test.each<[string, Buffer, RegExp]>([
  ['no item it knows', withByte(0, 6), /item 1 .* 6 is no operation/],
  ['an operation of 0', withByte(0, 0), /item 1 .* 0 is no operation/],
  ['a reserved byte', withByte(2, 1), /item 1 .* bytes 1 to 3 must be 0/],
  ['an object above 2^53 - 1', withByte(9, 0x20), /item 1 .* at most 2\^53 - 1/],
  ['an index for an object', Buffer.from(withByte(0, 5).fill(1, 7, 8)), /item 1 .* must be 0/],
  ['half a header', PUT.subarray(0, 15), /item 1 .* begin with 16 bytes/],
  ['half a page', PUT.subarray(0, 100), /item 1 .* must have 4096 bytes/],
])('a batch with %s does nothing at all', async (_, wrong, message) => {
  const { post, ask, path, key } = await startPool();
  const { status, json } = await post(Buffer.concat([PUT, wrong]));
  expect([status, json.detail]).toEqual([400, expect.stringMatching(message)]);
  expect((await ask('GET', `${path}/objects/1`, { key })).status).toBe(404);
});

test('a batch has at most 1024 items, and 4 MiB of pages both ways', async () => {
  const { post } = await startPool({ pageBytes: 8192 });
  const gets = (count: number) => Buffer.concat(Array(count).fill(withByte(4, 0)));
  expect((await post(gets(512))).status).toBe(200);
  expect((await post(gets(513))).status).toBe(413);
  const flushes = (count: number) => Buffer.concat(Array(count).fill(withByte(0, 4)));
  expect((await post(flushes(1024))).status).toBe(200);
  expect((await post(flushes(1025))).status).toBe(413);
  expect((await post(Buffer.alloc(4 * MIB + 16 * 1024 + 1))).status).toBe(413);
  expect((await post(Buffer.alloc(0))).bytes.length).toBe(0);
});
