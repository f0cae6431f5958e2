/** This server in the two settings that are compared, and what its metrics say of a measurement. */
import { existsSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import {
  freeSocket,
  type ServerContext,
  type ServerDefinition,
  type StartedServer,
  waitForSocket,
} from './peers.ts';

const EXPORT = 'bench';
/** Zero pages are metadata wherever they are met, so a layer cannot have quite all hits. */
const LAYER_SHARE_MIN = 0.85;

/** This server, in one of its settings. */
export interface TmemDefinition extends ServerDefinition {
  /** What would show that a measurement was not of this setting. */
  readonly faultOf?: (before: Counters, after: Counters) => string | undefined;
}

/** For reading; the memory is enough for every page of the image in either setting. */
export const TMEM_READING: readonly TmemDefinition[] = [
  {
    id: 'tmem-zcache',
    title: 'tmem --hot 0, every page compressed',
    faultOf: (before, after) => warmthFault(before, after, 'zcache'),
    start: (context) => startReader(context, 'tmem-zcache', { hot: '0', memoryTimes: 1 }),
  },
  {
    id: 'tmem-hot',
    title: 'tmem --hot 90%, every page uncompressed',
    faultOf: (before, after) => warmthFault(before, after, 'hot'),
    start: (context) => startReader(context, 'tmem-hot', { hot: '90%', memoryTimes: 1.5 }),
  },
];

/** For writing; each has a copy of the image for itself. */
export const TMEM_WRITING: readonly TmemDefinition[] = [
  {
    id: 'tmem-writeback',
    title: 'tmem --mode writeback, all pages may be dirty',
    goesAroundPageCache: true,
    start: (context) => startWriteBack(context, 'tmem-writeback', 1.5),
  },
  {
    id: 'tmem-writeback-half',
    title: 'tmem --mode writeback, half of the pages may be dirty',
    goesAroundPageCache: true,
    start: (context) => startWriteBack(context, 'tmem-writeback-half', 0.5),
  },
  {
    id: 'tmem-writethrough',
    title: 'tmem --mode writethrough, around the page cache',
    goesAroundPageCache: true,
    faultOf: throughFault,
    start: (context) => startWriter(context, 'tmem-writethrough', ['--mode', 'writethrough']),
  },
  {
    id: 'tmem-buffered',
    title: 'tmem --mode writethrough --buffered, through the page cache',
    faultOf: throughFault,
    start: (context) =>
      startWriter(context, 'tmem-buffered', ['--mode', 'writethrough', '--buffered']),
  },
];

/** A swap device, in which all pages of the image have room when they are compressed. */
export const TMEM_SWAP: readonly TmemDefinition[] = [
  {
    id: 'tmem-swap',
    title: 'tmem --swap, in compressed memory',
    start: async (context) => {
      const { sizeBytes, path } = context.image;
      const server = await startTmem(context, 'tmem-swap', undefined, [
        ...['--swap', `${EXPORT}=${sizeBytes}`, '--memory', memory(context, 0.8)],
      ]);
      await context.processes.run('nbdcopy', [path, server.uri]);
      return server;
    },
  },
];

/** Whether a server is one of ours. */
export function isOwn(id: string): boolean {
  return id.startsWith('tmem-');
}

/** Where the pages lie while reads are measured: all compressed, or all as they are. */
type Layer = 'zcache' | 'hot';

/** The counters that show where requests went. */
export interface Counters {
  readonly hitsByLayer: Readonly<Record<string, number>>;
  /** Requests that went on to the image file. */
  readonly backingReads: number;
  readonly backingWrites: number;
  /** Writes that clients were answered. */
  readonly writes: number;
}

/** The counters of a server at this moment. */
export async function readCounters(adminSocket: string): Promise<Counters> {
  return parseCounters(await fetchMetrics(adminSocket));
}

/** Reads the counters out of a Prometheus text page. */
export function parseCounters(text: string): Counters {
  const hitsByLayer: Record<string, number> = {};
  const counters = { backingReads: 0, backingWrites: 0, writes: 0 };
  for (const line of text.split('\n')) {
    const match = /^(\w+)\{(.*)\} (\S+)$/.exec(line);
    if (match === null) continue;
    const [, name, labelText = '', value] = match;
    const labels = parseLabels(labelText);
    if (name === 'tmem_gets_total' && labels.outcome === 'hit') {
      const layer = labels.layer ?? '';
      hitsByLayer[layer] = (hitsByLayer[layer] ?? 0) + Number(value);
    }
    if (name === 'tmem_backing_requests_total' && labels.op === 'read') {
      counters.backingReads += Number(value);
    } else if (name === 'tmem_backing_requests_total' && labels.op === 'write') {
      counters.backingWrites += Number(value);
    } else if (name === 'tmem_nbd_requests_total' && labels.command === 'write') {
      if (labels.error === '') counters.writes += Number(value);
    }
  }
  return { hitsByLayer, ...counters };
}

/** What shows that not every read was a hit in the layer that was to be measured; else nothing. */
export function warmthFault(before: Counters, after: Counters, setting: Layer): string | undefined {
  const backingReads = after.backingReads - before.backingReads;
  if (backingReads > 0) return `${backingReads} reads went to the image`;
  const hits = Object.entries(after.hitsByLayer).map(
    ([layer, count]) => [layer, count - (before.hitsByLayer[layer] ?? 0)] as const,
  );
  const all = hits.reduce((sum, [, count]) => sum + count, 0);
  const there = hits.find(([layer]) => layer === setting)?.[1] ?? 0;
  if (there > 0 && there >= all * LAYER_SHARE_MIN) return undefined;
  const spread = hits.map(([layer, count]) => `${count} in ${layer}`).join(', ');
  return `the hits were not in ${setting}: ${spread || 'none at all'}`;
}

/** What shows that writes were answered that had not gone to the image; else nothing. */
export function throughFault(before: Counters, after: Counters): string | undefined {
  const writes = after.writes - before.writes;
  const through = after.backingWrites - before.backingWrites;
  if (writes > 0 && through >= writes) return undefined;
  return `${writes} writes were answered, ${through} went to the image`;
}

/** The image's size so many times, and a little, as an option. */
export function memory({ image }: ServerContext, times: number): string {
  return `${Math.ceil((image.sizeBytes / 1024 ** 2) * times) + 64}MiB`;
}

function startReader(
  context: ServerContext,
  id: string,
  { hot, memoryTimes }: { hot: string; memoryTimes: number },
): Promise<StartedServer> {
  return startTmem(context, id, context.image.path, [
    ...['--mode', 'read-only'],
    ...['--memory', memory(context, memoryTimes), '--hot', hot],
  ]);
}

function startWriter(
  context: ServerContext,
  id: string,
  options: readonly string[],
): Promise<StartedServer> {
  return startTmem(context, id, context.image.path, [
    ...options,
    ...['--memory', memory(context, 2), '--hot', '90%'],
  ]);
}

/** The dirty limit is the image's size so many times. */
function startWriteBack(
  context: ServerContext,
  id: string,
  limitTimes: number,
): Promise<StartedServer> {
  const limit = String(context.image.sizeBytes * limitTimes);
  return startWriter(context, id, ['--mode', 'writeback', '--dirty-limit', limit]);
}

/** Starts this server with an image as its only export; without one, `options` say what is served. */
export async function startTmem(
  context: ServerContext,
  id: string,
  image: string | undefined,
  options: readonly string[],
): Promise<StartedServer> {
  const { processes, projectFolder } = context;
  const program = join(projectFolder, 'bin', 'tmem.cjs');
  if (!existsSync(program) || !existsSync(join(projectFolder, 'dist'))) {
    throw new Error('this server is not built: run npm run build, or measure with --only-peers');
  }
  const socket = freeSocket(context, id);
  const adminSocket = freeSocket(context, `${id}-admin`);
  const server = processes.start(process.execPath, [
    ...[program, 'serve', ...(image === undefined ? [] : [`${EXPORT}=${image}`]), ...options],
    ...['--listen', `unix:${socket}`, '--admin', `unix:${adminSocket}`],
  ]);
  await waitForSocket(socket, server);
  await waitForSocket(adminSocket, server);
  return { uri: `nbd+unix:///${EXPORT}?socket=${socket}`, process: server, adminSocket };
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [, name, value] of text.matchAll(/(\w+)="([^"]*)"/g)) {
    if (name !== undefined && value !== undefined) labels[name] = value;
  }
  return labels;
}

function fetchMetrics(socketPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get({ socketPath, path: '/metrics' }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.once('error', reject);
      response.once('end', () => {
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`/metrics on ${socketPath} answered ${response.statusCode}`));
      });
    });
    request.once('error', reject);
  });
}
