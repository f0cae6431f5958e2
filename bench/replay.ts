/**
 * How fast the replay's `sizes` engine is, and how much memory it takes.
 *
 *   npm run bench:replay -- [--trace FILE] [--page BYTES] [--libcachesim PROGRAM] [--smoke]
 *
 * Everything runs on a stream that is made here, the same each time; with a trace, all policies run
 * on that too. With libCacheSim's `cachesim`, both simulate the same stream in turns, on one thread.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildPageStream, type PageStream } from '../src/replay/engine/page-stream.ts';
import { REPLAY_POLICY_NAMES } from '../src/replay/engine/policy-specs.ts';
import { runAll } from '../src/replay/engine/run-all.ts';
import { simulate } from '../src/replay/engine/simulate.ts';
import { openTrace } from '../src/trace/open-trace.ts';
import { OP, RequestBatch } from '../src/trace/request-batch.ts';

const MIB = 1024 * 1024;
const ROUNDS = 5;
const GOAL_REQUESTS_PER_SECOND = 10e6;
const SHARES = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8];
/** What libCacheSim says of itself (README of the project). */
const PUBLISHED = 'libCacheSim publishes 20 million requests/s for LRU, one core';

const { values: options } = parseArgs({
  options: {
    trace: { type: 'string' },
    page: { type: 'string', default: '4096' },
    libcachesim: { type: 'string' },
    smoke: { type: 'boolean', default: false },
    /** Set for the process whose memory is measured. */
    memory: { type: 'string' },
  },
});

/** Uniform numbers of xorshift32. */
function* uniform(seed: number): Generator<number, never> {
  let x = seed;
  for (;;) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    yield (x >>> 0) / 0x1_0000_0000;
  }
}

/** Keys of which the low ones are wanted more; every tenth request is part of a scan. */
function* keysOf(requestCount: number, hotKeys: number): Generator<number> {
  const next = uniform(7);
  let scanned = hotKeys;
  for (let i = 0; i < requestCount; i++) {
    if (i % 1000 < 100) {
      yield scanned++;
      continue;
    }
    const u = next.next().value;
    yield Math.floor(hotKeys * u * u * u * u);
  }
}

function streamOf(requestCount: number, hotKeys: number): Promise<PageStream> {
  return buildPageStream({
    name: 'made',
    unit: 'keys',
    volumes: ['made'],
    canRereads: true,
    async *batches() {
      const batch = new RequestBatch();
      for (const key of keysOf(requestCount, hotKeys)) {
        batch.push(0, key, 1, 0, OP.read, 0, 0);
        if (batch.count < batch.capacity) continue;
        yield batch;
        batch.count = 0;
      }
      yield batch;
    },
  });
}

function show(what: string, value: string, note = ''): void {
  console.log(`${what.padEnd(44)} ${value.padStart(12)}  ${note}`);
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

const rate = (perSecond: number) => `${(perSecond / 1e6).toFixed(1)} M/s`;

function benchOneThread(stream: PageStream): void {
  const capacityPages = Math.round(stream.pageCount / 10);
  for (const policy of REPLAY_POLICY_NAMES) {
    const rates = Array.from({ length: options.smoke ? 1 : ROUNDS }, () => {
      const { requests, elapsedMs } = simulate(stream, { policy, capacityPages });
      return (1000 * requests) / elapsedMs;
    });
    const hasGoal = policy === 'lru' || policy === 's3fifo';
    const isReached = median(rates) >= GOAL_REQUESTS_PER_SECOND;
    const note = hasGoal ? `goal 10 M/s: ${isReached ? 'reached' : 'MISSED'}` : '';
    show(`one thread, ${policy}`, rate(median(rates)), note);
  }
}

async function benchAll(stream: PageStream, name: string): Promise<void> {
  const runs = REPLAY_POLICY_NAMES.flatMap((policy) =>
    SHARES.map((share) => ({
      policy,
      capacityPages: Math.max(1, Math.round(stream.pageCount * share)),
    })),
  );
  const startMs = performance.now();
  await runAll(stream, runs);
  const seconds = (performance.now() - startMs) / 1000;
  const requests = runs.length * stream.requestCount;
  const note = `${runs.length} runs, ${availableParallelism()} threads, ${rate(requests / seconds)}`;
  show(`all policies at 8 sizes, ${name}`, `${seconds.toFixed(1)} s`, note);
}

/** The memory of a process that replays that many requests. */
function benchMemory(requestCount: number): void {
  const script = fileURLToPath(import.meta.url);
  const text = execFileSync(process.execPath, [script, '--memory', String(requestCount)], {
    encoding: 'utf8',
  });
  const { rssBytes, pageCount } = JSON.parse(text) as { rssBytes: number; pageCount: number };
  const allowed = 300 * MIB + 16 * pageCount;
  const verdict = rssBytes <= allowed ? 'kept' : 'EXCEEDED';
  const note = `limit ${Math.round(allowed / MIB)} MiB for ${pageCount} pages: ${verdict}`;
  show(`memory, ${requestCount} requests`, `${Math.round(rssBytes / MIB)} MiB`, note);
}

async function replayForMemory(requestCount: number): Promise<void> {
  const stream = await streamOf(requestCount, requestCount / 4);
  const capacityPages = Math.round(stream.pageCount / 10);
  await runAll(stream, [
    { policy: 'lru', capacityPages },
    { policy: 's3fifo', capacityPages },
  ]);
  const rssBytes = process.resourceUsage().maxRSS * 1024;
  console.log(JSON.stringify({ rssBytes, pageCount: stream.pageCount }));
}

/** The same stream in both, in turns; libCacheSim's own figure of its speed counts. */
function benchPeer(program: string, stream: PageStream): void {
  const folder = mkdtempSync(join(tmpdir(), 'tmem-bench-'));
  try {
    const path = join(folder, 'made.oracleGeneral');
    writeOracleGeneral(path, stream);
    const capacityPages = Math.round(stream.pageCount / 10);
    for (const policy of ['lru', 's3fifo']) {
      const [ours, theirs]: [number[], number[]] = [[], []];
      let [misses, ratio] = [0, ''];
      for (let round = 0; round < (options.smoke ? 1 : ROUNDS); round++) {
        const result = simulate(stream, { policy, capacityPages });
        ours.push((1000 * result.requests) / result.elapsedMs);
        misses = result.misses;
        const peer = [path, 'oracleGeneral', policy, String(capacityPages)];
        const { stdout } = spawnSync(program, [...peer, '--ignore-obj-size', '1'], {
          encoding: 'utf8',
          cwd: folder,
        });
        const line = /miss ratio ([\d.]+), throughput ([\d.]+) MQPS/.exec(stdout);
        if (line === null) throw new Error(`${program} printed no throughput: ${stdout}`);
        ratio = line[1] ?? '';
        theirs.push(Number(line[2]) * 1e6);
      }
      const factor = (median(ours) / median(theirs)).toFixed(2);
      const ratios = `miss ratio ${(misses / stream.requestCount).toFixed(4)}, there ${ratio}`;
      show(
        `${policy} beside libCacheSim`,
        rate(median(ours)),
        `there ${rate(median(theirs))}: × ${factor}; ${ratios}`,
      );
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** libCacheSim's format: time u32, id u64, size u32, index of the next request i64, 24 bytes. */
function writeOracleGeneral(path: string, { ids }: PageStream): void {
  const records = Buffer.alloc(24 * ids.length);
  for (const [i, id] of ids.entries()) {
    records.writeUInt32LE(Math.floor(i / 1000), 24 * i);
    records.writeUInt32LE(id + 1, 24 * i + 4);
    records.writeUInt32LE(1, 24 * i + 12);
    records.fill(0xff, 24 * i + 16, 24 * i + 24);
  }
  writeFileSync(path, records);
}

async function main(): Promise<void> {
  if (options.memory !== undefined) {
    await replayForMemory(Number(options.memory));
    return;
  }
  const [cpu] = cpus();
  const load = loadavg()[0]?.toFixed(2);
  console.log(`${cpu?.model}, Node ${process.versions.node}, load average ${load}`);
  const requestCount = options.smoke ? 20_000 : 1_000_000;
  const startMs = performance.now();
  const stream = await streamOf(requestCount, requestCount / 5);
  const perSecond = (1000 * requestCount) / (performance.now() - startMs);
  show('numbering pages', rate(perSecond), `${requestCount} requests, ${stream.pageCount} pages`);
  benchOneThread(stream);
  if (options.libcachesim === undefined) console.log(PUBLISHED);
  else benchPeer(options.libcachesim, stream);
  await benchAll(stream, 'the made stream');
  if (options.trace !== undefined) {
    const trace = await openTrace([options.trace]);
    const pages = await buildPageStream(trace, { pageBytes: Number(options.page) });
    await benchAll(pages, trace.name);
  }
  benchMemory(options.smoke ? 100_000 : 10_000_000);
}

await main();
