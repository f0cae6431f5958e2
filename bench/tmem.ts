/** This server in the two settings that are compared, and what its metrics say of a measurement. */
import { existsSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import type { Setting } from './cases.ts';
import { type ServerContext, type ServerDefinition, waitForSocket } from './peers.ts';

const EXPORT = 'bench';
/** Zero pages are metadata wherever they are met, so a layer cannot have quite all hits. */
const LAYER_SHARE_MIN = 0.85;

/** This server, in one of its settings. */
export interface TmemDefinition extends ServerDefinition {
  readonly setting: Setting;
}

/** Both settings; the memory is enough for every page of the image in either. */
export const TMEM: readonly TmemDefinition[] = [
  {
    id: 'tmem-zcache',
    title: 'tmem --hot 0, every page compressed',
    setting: 'zcache',
    start: (context) => startTmem(context, 'tmem-zcache', { hot: '0', memoryTimes: 1 }),
  },
  {
    id: 'tmem-hot',
    title: 'tmem --hot 90%, every page uncompressed',
    setting: 'hot',
    start: (context) => startTmem(context, 'tmem-hot', { hot: '90%', memoryTimes: 1.5 }),
  },
];

/** The counters that show where hits came from. */
export interface Counters {
  readonly hitsByLayer: Readonly<Record<string, number>>;
  /** Requests that went on to the image file. */
  readonly backingReads: number;
}

/** The counters of a server at this moment. */
export async function readCounters(adminSocket: string): Promise<Counters> {
  return parseCounters(await fetchMetrics(adminSocket));
}

/** Reads the counters out of a Prometheus text page. */
export function parseCounters(text: string): Counters {
  const hitsByLayer: Record<string, number> = {};
  let backingReads = 0;
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
      backingReads += Number(value);
    }
  }
  return { hitsByLayer, backingReads };
}

/** What shows that not every read was a hit in the layer that was to be measured; else nothing. */
export function warmthFault(
  before: Counters,
  after: Counters,
  setting: Setting,
): string | undefined {
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

async function startTmem(
  context: ServerContext,
  id: string,
  { hot, memoryTimes }: { hot: string; memoryTimes: number },
) {
  const { processes, image, socketFolder, projectFolder } = context;
  const program = join(projectFolder, 'bin', 'tmem.cjs');
  if (!existsSync(program) || !existsSync(join(projectFolder, 'dist'))) {
    throw new Error('this server is not built: run npm run build, or measure with --only-peers');
  }
  const socket = join(socketFolder, `${id}.sock`);
  const adminSocket = join(socketFolder, `${id}-admin.sock`);
  const memoryMib = Math.ceil((image.sizeBytes / 1024 ** 2) * memoryTimes) + 64;
  const server = processes.start(process.execPath, [
    ...[program, 'serve', `${EXPORT}=${image.path}`],
    ...['--listen', `unix:${socket}`, '--admin', `unix:${adminSocket}`],
    ...['--memory', `${memoryMib}MiB`, '--hot', hot, '--mode', 'read-only'],
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
