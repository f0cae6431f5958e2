/** `tmem trace convert`, `cut` and `merge`: a trace from others. */

import { TmemError } from '../../lib/errors.ts';
import { type Cut, cutBatches } from '../../trace/cut.ts';
import { MergedTraces } from '../../trace/merge-traces.ts';
import { openTrace } from '../../trace/open-trace.ts';
import { OP_NAMES, type Op } from '../../trace/request-batch.ts';
import type { Trace } from '../../trace/trace.ts';
import { type ParsedArguments, parseWhole } from '../command/arguments.ts';
import { INPUT_OPTIONS, inputOptions, parseSample } from './input.ts';
import { OUTPUT_OPTIONS, type RequestSource, writeTrace } from './output.ts';
import { commonSampleRate, refuseSampleOf } from './samples.ts';
import type { TraceVerb } from './verb.ts';

async function sourceOf(trace: Trace): Promise<RequestSource> {
  return {
    ...{ unit: trace.unit, hasClock: trace.hasClock, traces: [trace] },
    ...{ sampleRate: commonSampleRate([trace]), isMergedSample: trace.isMergedSample },
    sourceHash: trace.canRereads ? await trace.hash() : '',
    volumes: () => trace.volumes,
    batches: () => trace.batches(),
  };
}

export const convertVerb: TraceVerb = {
  name: 'convert',
  operands: 'TRACE...',
  operandsMin: 1,
  summary: 'write a trace in another format',
  about:
    'Several files are one trace, merged by time. The formats of libCacheSim have an access for each\n' +
    'page; when it comes next is filled in by a second pass over what was written, which takes up to\n' +
    '64 bytes of memory for each distinct page.',
  options: { ...OUTPUT_OPTIONS, ...INPUT_OPTIONS },
  run: async (call) => {
    const trace = await openTrace(call.paths, inputOptions(call.parsed));
    return writeTrace(call, await sourceOf(trace));
  },
};

const SECONDS_SHAPE = /^\d{1,12}(\.\d{1,6})?$/;

/** Seconds with a fraction, as microseconds. */
function parseTimeUs(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined;
  if (SECONDS_SHAPE.test(text)) return Number(text) * 1e6;
  throw new TmemError('usage', `${option}: "${text}" is not a time; give seconds from the start`);
}

function parseOps(text: string | undefined): ReadonlySet<Op> | undefined {
  if (text === undefined) return undefined;
  const ops = text.split(',').map((name) => {
    const op = (OP_NAMES as readonly string[]).indexOf(name);
    if (op >= 0) return op as Op;
    const names = OP_NAMES.join(', ');
    throw new TmemError('usage', `--op: "${name}" is no operation; give some of ${names}`);
  });
  return new Set(ops);
}

function parseCut(parsed: ParsedArguments<string>): Cut {
  const count = (name: string): number | undefined => {
    const text = parsed.last(name);
    return text === undefined ? undefined : parseWhole(name, text, 1);
  };
  const volumes = parsed.all('volume');
  const sample = parsed.last('sample');
  const given = {
    fromUs: parseTimeUs(parsed.last('from'), '--from'),
    untilUs: parseTimeUs(parsed.last('until'), '--until'),
    skip: count('skip'),
    requestsMax: count('requests'),
    volumes: volumes.length > 0 ? new Set(volumes) : undefined,
    ops: parseOps(parsed.last('op')),
    sampleRate: sample === undefined ? undefined : parseSample(sample),
  };
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  if (entries.length === 0) {
    throw new TmemError('usage', 'nothing says what to keep; give --from, --until, --requests, …');
  }
  return Object.fromEntries(entries) as Cut;
}

/** Of a trace without times the requests are numbered instead: no seconds pass between them. */
function refuseTimesOf({ hasClock, name }: Trace, { fromUs, untilUs }: Cut): void {
  if (hasClock || (fromUs === undefined && untilUs === undefined)) return;
  throw new TmemError(
    'usage',
    `${name} has no times, so that --from and --until mean nothing; give --skip and --requests`,
  );
}

export const cutVerb: TraceVerb = {
  name: 'cut',
  operands: 'TRACE...',
  operandsMin: 1,
  summary: 'write a part of a trace',
  about:
    'Keeps the requests to which all of the options apply. A sample keeps some pages with all their\n' +
    'requests, so that a cache of the same share of the size has about the same hit ratio.',
  options: {
    from: { value: 'SECONDS', help: 'from so long after the first request' },
    until: { value: 'SECONDS', help: 'up to so long after the first request' },
    skip: { value: 'N', help: 'without the first N' },
    requests: { value: 'N', help: 'N at most' },
    volume: { value: 'NAME', help: 'of this volume; may be repeated' },
    op: { value: 'LIST', help: `some of ${OP_NAMES.join(', ')}` },
    sample: { value: 'SHARE', help: 'this share of the pages, as 5% or 0.05' },
    ...OUTPUT_OPTIONS,
    ...INPUT_OPTIONS,
  },
  run: async (call) => {
    const cut = parseCut(call.parsed);
    const trace = await openTrace(call.paths, inputOptions(call.parsed));
    refuseTimesOf(trace, cut);
    const source = await sourceOf(trace);
    refuseSampleOf(trace, cut.sampleRate ?? 1);
    // The samples of one hash lie within each other.
    const sampleRate = Math.min(source.sampleRate, cut.sampleRate ?? 1);
    return writeTrace(call, { ...source, sampleRate, batches: () => cutBatches(trace, cut) });
  },
};

export const mergeVerb: TraceVerb = {
  name: 'merge',
  operands: 'TRACE TRACE...',
  operandsMin: 2,
  summary: 'write several traces as one, by time',
  about:
    'Every file is a trace of its own and may have a format of its own. Volumes of the same name are\n' +
    'the same volume, unless --prefix tells them apart.',
  options: {
    align: { help: 'have all of them begin at the same time' },
    prefix: { help: "put its trace's name before the name of each volume" },
    ...OUTPUT_OPTIONS,
    ...INPUT_OPTIONS,
  },
  run: async (call) => {
    const { parsed } = call;
    const traces: Trace[] = [];
    for (const path of call.paths) traces.push(await openTrace([path], inputOptions(parsed)));
    const options = { isAligned: parsed.has('align'), isPrefixed: parsed.has('prefix') };
    const merged = new MergedTraces(traces, options);
    const sampleRate = commonSampleRate(traces);
    return writeTrace(call, {
      ...{ unit: traces[0]?.unit ?? 'bytes', hasClock: true, traces },
      ...{ sampleRate, isMergedSample: sampleRate < 1 },
      sourceHash: '',
      volumes: () => merged.volumes,
      batches: () => merged.batches(),
    });
  },
};
