/** The options of `tmem replay`, and what they ask of a replay. */

import { refuse } from '../../lib/errors.ts';
import { exactSize, parseSize } from '../../lib/sizes.ts';
import { OPS_MODES, type OpsMode } from '../../replay/engine/page-stream.ts';
import { parsePolicy, REPLAY_POLICY_NAMES } from '../../replay/engine/policy-specs.ts';
import {
  DEFAULT_MEMORY,
  type MemorySize,
  parseMemoryList,
} from '../../replay/report/memory-sizes.ts';
import type { Warmup } from '../../replay/report/replay.ts';
import type { OpenTraceOptions } from '../../trace/format.ts';
import {
  COMMON_OPTIONS,
  type OptionTable,
  type ParsedArguments,
  parseWhole,
} from '../command/arguments.ts';
import { formatOptions } from '../command/help.ts';
import { parseProgress } from '../terminal/progress-line.ts';
import { INPUT_OPTIONS, inputOptions, parseSample, parseShare } from '../trace/input.ts';

/** Layers are a hundred times slower than page numbers. */
const FULL_POLICIES = 's3fifo-cw,lru';
const DEFAULT_POLICIES = 's3fifo-cw,s3fifo,lirs,w-tinylfu,arc,lru,belady';
/** In a list of policies: every one there is. */
const ALL_POLICIES = 'all';
const PAGE_BYTES_MAX = 64 * 1024 * 1024;
const THREADS_MAX = 256;
const SEED_MAX = 2 ** 31 - 1;

export const REPLAY_OPTIONS = {
  ...INPUT_OPTIONS,
  page: { value: 'SIZE', help: 'the unit of the cache (default: 4KiB)' },
  memory: {
    value: 'LIST',
    help: `sizes of the cache: 256MiB, 1000p (pages), 10%\n(of the footprint) (default:\n${DEFAULT_MEMORY})`,
  },
  policy: {
    value: 'LIST',
    help: `what leaves first; may have parameters, as\nclock:bits=2; all is all of them (default:\n${DEFAULT_POLICIES})`,
  },
  ops: {
    value: 'MODE',
    help: 'reads, all, or writes-invalidate: writes count as\nreads do, or not at all, or drop their pages\n(default: all)',
  },
  warmup: {
    value: 'N',
    help: 'accesses, or a share as 10%, that fill the cache\nbefore counting begins (default: 0)',
  },
  sample: {
    value: 'R',
    help: 'look at this share of the pages only, as 0.05 or\n5%; results are estimates then (default: 1)',
  },
  engine: {
    value: 'NAME',
    help: 'sizes: page numbers only; full: the real cache,\nwith page contents (default: sizes)',
  },
  contents: {
    value: 'WHAT',
    help: 'what the pages hold, for full: a raw image, a ratio\nthat they compress to, as 2.5, or mixed (default)',
  },
  out: { value: 'DIR', help: 'write the report there: HTML, JSON and CSV; it must\nnot exist' },
  threads: {
    value: 'N',
    help: 'threads for simulations (default: one a processor,\nfewer where they would take much memory)',
  },
  seed: { value: 'N', help: 'what chance there is follows from it (default: 1)' },
  json: { help: 'print the runs as an array of JSON' },
  progress: {
    value: 'WHEN',
    help: 'how far it is, on standard error: auto (a bar on a\nterminal, else lines), on or off (default: auto)',
  },
  ...COMMON_OPTIONS,
} as const satisfies OptionTable<string>;

export type ReplayOption = keyof typeof REPLAY_OPTIONS;

export const REPLAY_HELP = `Usage: tmem replay [OPTION]... TRACE...

Replays a recorded workload: what every policy would have hit in a cache of every size. Prints a
table of hit ratios; with --out, makes a report to look at. Several files are one trace; - is the
standard input.

Options:
${formatOptions(REPLAY_OPTIONS)}

Policies: ${REPLAY_POLICY_NAMES.slice(0, 9).join(', ')},
${REPLAY_POLICY_NAMES.slice(9).join(', ')}. belady knows the future: no other can do better.

tmem replay --live URI TRACE... asks an NBD server the same instead; tmem replay --live --help.

Exit codes: 0 done, 1 failed while running, 2 the request cannot be carried out as it stands.
`;

/** What a command line asks for. */
export interface ReplayRequest {
  /** How the trace is to be read. */
  readonly input: OpenTraceOptions;
  readonly showsProgress: boolean;
  readonly pageBytes: number;
  readonly memory: readonly MemorySize[];
  /** Whether the sizes are those of the default list. */
  readonly hasDefaultMemory: boolean;
  readonly policies: readonly string[];
  /** Whether the policies are those of the default list. */
  readonly hasDefaultPolicies: boolean;
  readonly ops: OpsMode;
  readonly warmup: Warmup;
  readonly sampleRate: number;
  readonly engine: 'sizes' | 'full';
  readonly threads: number | undefined;
  readonly seed: number;
  /** `mixed`, a compression ratio, or the path of an image. */
  readonly contents: string;
  /** The options that decide the result, all of them, by their names. */
  readonly options: ReadonlyMap<string, string>;
}

/** Splits `lru,s3fifo:threshold=1,small=0.2`: what has a "=" before any ":" belongs to the last. */
function splitPolicies(text: string): string[] {
  const policies: string[] = [];
  for (const part of text.split(',').map((each) => each.trim())) {
    const last = policies.pop();
    if (last === undefined) policies.push(part);
    else if (/^[^:]*=/.test(part)) policies.push(`${last},${part}`);
    else policies.push(last, part);
  }
  for (const policy of policies) if (policy !== ALL_POLICIES) parsePolicy(policy);
  const named = policies.flatMap((policy) =>
    policy === ALL_POLICIES ? REPLAY_POLICY_NAMES : [policy],
  );
  return [...new Set(named)];
}

function parseWarmup(text: string): Warmup {
  const value = parseShare(text);
  if (text.endsWith('%') && value !== undefined && value < 1)
    return { kind: 'share', share: value };
  if (value !== undefined && !text.endsWith('%') && Number.isSafeInteger(value)) {
    return { kind: 'accesses', accesses: value };
  }
  refuse(`--warmup: "${text}" is no warm-up; give a number of accesses, or a share below 100%`);
}

function parsePage(text: string): number {
  const bytes = parseSize(text);
  if (bytes >= 1 && bytes <= PAGE_BYTES_MAX) return bytes;
  refuse(`--page: "${text}" is out of range; give 1 to ${exactSize(PAGE_BYTES_MAX)}, as 4KiB`);
}

function oneOf<Name extends string>(option: string, text: string, names: readonly Name[]): Name {
  const found = names.find((name) => name === text);
  return found ?? refuse(`--${option}: there is no "${text}"; choose of ${names.join(', ')}`);
}

/** Reads the options. Throws a usage error for one that makes no sense. */
export function parseRequest(parsed: ParsedArguments<ReplayOption>): ReplayRequest {
  const text = (name: ReplayOption, ifNone: string) => parsed.last(name) ?? ifNone;
  const isFull = parsed.last('engine') === 'full';
  if (parsed.has('contents') && !isFull) refuse('--contents is for --engine full; give both');
  const progress = parseProgress(parsed.last('progress'));
  const input = inputOptions(parsed);
  const others = (['columns', 'time-unit', 'sector-bytes', 'contents'] as const).flatMap((name) => {
    const given = parsed.last(name);
    return given === undefined ? [] : [[name, given] as const];
  });
  const texts = {
    format: text('format', 'auto'),
    page: text('page', '4KiB'),
    memory: text('memory', DEFAULT_MEMORY),
    policy: text('policy', isFull ? FULL_POLICIES : DEFAULT_POLICIES),
    ops: text('ops', 'all'),
    warmup: text('warmup', '0'),
    sample: text('sample', '1'),
    engine: text('engine', 'sizes'),
    seed: text('seed', '1'),
  };
  const threads = parsed.last('threads');
  return {
    input,
    showsProgress: progress !== 'off',
    pageBytes: parsePage(texts.page),
    memory: parseMemoryList(texts.memory),
    hasDefaultMemory: !parsed.has('memory'),
    policies: splitPolicies(texts.policy),
    hasDefaultPolicies: !parsed.has('policy'),
    ops: oneOf('ops', texts.ops, OPS_MODES),
    warmup: parseWarmup(texts.warmup),
    sampleRate: parseSample(texts.sample),
    engine: oneOf('engine', texts.engine, ['sizes', 'full']),
    threads: threads === undefined ? undefined : parseWhole('threads', threads, 0, THREADS_MAX),
    seed: parseWhole('seed', texts.seed, 0, SEED_MAX),
    contents: parsed.last('contents') ?? 'mixed',
    options: new Map([...Object.entries(texts), ...others]),
  };
}
