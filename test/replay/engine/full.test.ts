import { closeSync, openSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadCodec } from '../../../src/layers/codec.ts';
import { Zcache } from '../../../src/layers/zcache.ts';
import { DEFAULT_POLICY, POLICIES } from '../../../src/policy/policies.ts';
import type { PolicyFactory } from '../../../src/policy/policy.ts';
import { runFull } from '../../../src/replay/engine/full.ts';
import { FullCache } from '../../../src/replay/engine/full-cache.ts';
import { nextUsesOf } from '../../../src/replay/engine/next-uses.ts';
import {
  type ContentModel,
  evenContent,
  FileContents,
  MIXED_CONTENT,
  SynthesisedContents,
} from '../../../src/replay/engine/page-contents.ts';
import type { PageStream } from '../../../src/replay/engine/page-stream.ts';
import { parsePolicy, REPLAY_POLICY_NAMES } from '../../../src/replay/engine/policy-specs.ts';
import { SimulatedCache } from '../../../src/replay/engine/simulated-cache.ts';
import { Cleancache } from '../../../src/tmem/cleancache.ts';
import { Tmem } from '../../../src/tmem/tmem.ts';
import { stream as keysOf } from '../../policy/golden-synthetic.ts';
import { workspace } from '../../tools/workspace.ts';
import { streamOfKeys } from './golden-streams.ts';
import { ToldPolicy } from './told-policy.ts';

const PAGE_BYTES = 4096;
const LIMIT_BYTES = 64 * 1024 * 1024;
const REQUESTS = 30_000;
const codec = loadCodec();

let stream: PageStream;
let nextUses: Int32Array;
beforeAll(async () => {
  stream = await streamOfKeys('skewed-scan', keysOf('skewed-scan').subarray(0, REQUESTS));
  nextUses = nextUsesOf(stream);
});

/** One layer, and one account that may have so many bytes of it. */
function oneTier(
  policy: PolicyFactory = POLICIES.lru,
  capBytes = Infinity,
  contents = contentsOf(MIXED_CONTENT),
) {
  const zcache = new Zcache({ limitBytes: LIMIT_BYTES, pageBytesMax: PAGE_BYTES, codec, policy });
  const tmem = new Tmem([zcache]);
  const account = tmem.createAccount({ name: 'all', capBytes });
  const create = () => new Cleancache(tmem, PAGE_BYTES, undefined, account);
  return { account, cache: new FullCache(stream, tmem, PAGE_BYTES, contents, create) };
}

function contentsOf(model: ContentModel): SynthesisedContents {
  return new SynthesisedContents(stream, PAGE_BYTES, model);
}

/** What the stack charges for each page of the stream, bytes. */
function chargesOf(contents: SynthesisedContents): Uint32Array {
  const { account, cache } = oneTier(POLICIES.lru, Infinity, contents);
  const charges = new Uint32Array(stream.pageCount);
  for (let i = 0; i < stream.requestCount; i++) {
    const before = account.usedBytes;
    cache.run(i, i + 1);
    if (account.usedBytes > before) charges[stream.ids[i] ?? 0] = account.usedBytes - before;
  }
  expect(cache.misses).toBe(stream.pageCount);
  return charges;
}

/** Requests, by index, that one engine answered otherwise than the other. */
function differences(policy: string, capacity: number, model: ContentModel): number[] {
  const contents = contentsOf(model);
  const charges = chargesOf(contents);
  const spec = parsePolicy(policy);
  const sizes = new SimulatedCache(stream, { spec, capacity, charges, nextUses });
  const told = new ToldPolicy(policy, capacity, stream.pageCount, nextUses);
  const { cache: full } = oneTier(told.factory, capacity, contents);
  const different: number[] = [];
  for (let i = 0; i < stream.requestCount; i++) {
    told.page = stream.ids[i] ?? 0;
    told.future.now = i;
    const hits = [sizes.hits, full.hits];
    sizes.run(i, i + 1);
    full.run(i, i + 1);
    if (sizes.hits - (hits[0] ?? 0) !== full.hits - (hits[1] ?? 0)) different.push(i);
  }
  expect(full.hits).toBeGreaterThan(0);
  expect(full.evictions).toBe(sizes.evictions);
  return different;
}

describe('the full engine, of one layer', () => {
  it.each(REPLAY_POLICY_NAMES)('hits and misses where sizes does: %s', (policy) => {
    expect(differences(policy, 800 * 4140, evenContent(1))).toEqual([]);
  });

  // A layer leaves what an overfull segment of slru pushes out until it needs the room.
  const byBytes = REPLAY_POLICY_NAMES.filter((name) => name !== 'slru');
  it.each(byBytes)('does so where pages charge what they compress to: %s', (policy) => {
    const noFilled = { ...MIXED_CONTENT, classes: MIXED_CONTENT.classes.slice(1) };
    expect(differences(policy, 2_000_000, noFilled)).toEqual([]);
  });
});

describe('the full engine', () => {
  const MIB = 1024 * 1024;

  it('tells which layer answered, and all of it adds up', () => {
    const result = runFull(stream, {
      policy: DEFAULT_POLICY,
      capacityPages: (8 * MIB) / PAGE_BYTES,
      warmupRequests: 1000,
    });
    const [hot, zcache] = result.tiers;
    expect(result.tiers.map(({ name }) => name)).toEqual(['hot', 'zcache']);
    expect((hot?.hits ?? 0) + (zcache?.hits ?? 0)).toBe(result.hits + result.warmup.hits);
    expect(zcache?.misses).toBe(result.misses + result.warmup.misses);
    expect(result.coldMisses + result.warmup.coldMisses).toBe(stream.pageCount);
    expect(hot?.pushedDown).toBeGreaterThan(0);
    for (const { dataBytes, metadataBytes, limitBytes } of result.tiers) {
      expect(dataBytes + metadataBytes).toBeLessThanOrEqual(limitBytes);
    }
  });

  it('is the same the next time, and holds more pages the better they compress', () => {
    // A quarter of it is too little for hot.
    const run = { policy: DEFAULT_POLICY, capacityPages: (4 * MIB) / PAGE_BYTES - 1 };
    const even = (ratio: number) =>
      runFull(stream, run, { contents: contentsOf(evenContent(ratio)) });
    const [half, whole] = [even(0.5), even(1)];
    expect({ ...even(0.5), elapsedMs: 0 }).toEqual({ ...half, elapsedMs: 0 });
    expect(half.hits).toBeGreaterThan(1.05 * whole.hits);
    expect(half.tiers[0]?.pages).toBeGreaterThan(1.7 * (whole.tiers[0]?.pages ?? 0));
  });

  it('drops what is written where writes invalidate', async () => {
    const drops = await streamOfKeys('drops', [1, 2, 1, 1, 2]);
    const written = {
      ...drops,
      ops: 'writes-invalidate' as const,
      writeBits: Int32Array.of(0b100),
    };
    const result = runFull(written, { policy: DEFAULT_POLICY, capacityPages: 256 });
    expect(result).toMatchObject({ requests: 4, misses: 3, hits: 1, invalidations: 1 });
  });

  it('keeps what is swapped out, until it is full and refuses', async () => {
    const keys = Array.from({ length: 1000 }, (_, key) => key);
    const both = await streamOfKeys('swap', [...keys, ...keys]);
    const writeBits = new Int32Array(64).fill(-1, 0, 31);
    writeBits[31] = 0xff;
    const swap = { ...both, ops: 'all' as const, writeBits };
    const contents = new SynthesisedContents(swap, PAGE_BYTES, evenContent(1));
    const context = { frontend: 'swap' as const, contents };
    const run = { policy: DEFAULT_POLICY, capacityPages: 2048 };
    expect(runFull(swap, run, context)).toMatchObject({ hits: 1000, misses: 0 });
    const small = runFull(swap, { ...run, capacityPages: 512 }, context);
    expect(small.refusals).toBeGreaterThan(400);
    expect(small.misses).toBe(small.refusals);
    expect(() => runFull({ ...swap, ops: 'reads' }, run, context)).toThrow('swap');
  });

  it.each([
    [{ policy: 'lru', capacityPages: 255 }, PAGE_BYTES, 'no stack'],
    [{ policy: 'lru', capacityPages: 2048 }, 512, 'a page has'],
    [{ policy: 'belady', capacityPages: 256 }, PAGE_BYTES, 'no eviction policy "belady"'],
  ])('refuses %j with pages of %i bytes', (run, pageBytes, message) => {
    expect(() => runFull({ ...stream, pageBytes }, run)).toThrow(message);
  });
});

describe('contents', () => {
  it('compress as their model says', () => {
    const contents = contentsOf(MIXED_CONTENT);
    const page = Buffer.alloc(PAGE_BYTES);
    const block = Buffer.alloc(2 * PAGE_BYTES);
    let [whole, compressed] = [0, 0];
    for (let id = 0; id < stream.pageCount; id++) {
      contents.fill(id, page);
      const length = codec.encode(page, block, block.length);
      if (length > 0.95 * PAGE_BYTES) whole++;
      compressed += Math.min(length, PAGE_BYTES);
    }
    const mean = 0.5 * 0.375 + 0.2 * 0.675 + 0.15;
    expect(compressed / stream.pageCount / PAGE_BYTES).toBeGreaterThan(mean - 0.06);
    expect(compressed / stream.pageCount / PAGE_BYTES).toBeLessThan(mean + 0.06);
    expect(whole / stream.pageCount).toBeGreaterThan(0.1);
    expect(whole / stream.pageCount).toBeLessThan(0.2);
  });

  it('of a file are its bytes where the page is, and zeros behind its end', async () => {
    const file = path.join(workspace(), 'image');
    writeFileSync(file, Buffer.concat([Buffer.alloc(PAGE_BYTES, 1), Buffer.alloc(100, 2)]));
    const fd = openSync(file, 'r');
    const pages = { ...(await streamOfKeys('two', [1, 0, 7])), pageBytes: PAGE_BYTES };
    const contents = new FileContents(pages, fd, file);
    const read = (id: number) => {
      const page = Buffer.alloc(PAGE_BYTES, 9);
      contents.fill(id, page);
      return page;
    };
    expect(read(0)).toEqual(Buffer.concat([Buffer.alloc(100, 2), Buffer.alloc(PAGE_BYTES - 100)]));
    expect(read(1)).toEqual(Buffer.alloc(PAGE_BYTES, 1));
    expect(read(2)).toEqual(Buffer.alloc(PAGE_BYTES));
    closeSync(fd);
    expect(() => read(0)).toThrow('read from');
  });
});
