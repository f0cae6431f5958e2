/** An administrative server over a small stack with one export, and a client that checks answers. */

import { once } from 'node:events';
import http from 'node:http';
import { onTestFinished } from 'vitest';
import type { AdminTimeouts } from '../../src/admin/server.ts';
import { Export } from '../../src/export/export.ts';
import { rawImage } from '../../src/image/raw.ts';
import { BufferPool } from '../../src/lib/buffer-pool.ts';
import type { ListenAddress } from '../../src/lib/listen-address.ts';
import { ServerStatistics } from '../../src/nbd/statistics.ts';
import { type AdminOptions, createAdminServer } from '../../src/service/admin/admin.ts';
import { Cleancache } from '../../src/tmem/cleancache.ts';
import { smallStack } from '../metrics/scraped.ts';
import { recordingsTo } from '../service/recording/quiet-recordings.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';
import { ApiDocument } from './api-document.ts';
import { quietGovernor } from './quiet-governor.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const PAGE = 4096;

const LOOPBACK: ListenAddress = { kind: 'tcp', host: '127.0.0.1', port: 0 };

export interface AdminFixtureOptions {
  readonly address?: ListenAddress;
  readonly token?: string;
  readonly timeouts?: AdminTimeouts;
  readonly memoryBytes?: number;
  readonly parts?: Partial<AdminOptions>;
}

/** What a request has beside its method and path. */
export interface Extras {
  readonly json?: unknown;
  readonly bytes?: Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  readonly key?: string;
}

export interface Answered {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly type: string;
  readonly bytes: Buffer;
  /** Empty for what is not JSON. */
  readonly json: Readonly<Record<string, unknown>>;
}

export type AdminFixture = Awaited<ReturnType<typeof startAdmin>>;

/** Starts a server, which ends with the test. */
export async function startAdmin(options: AdminFixtureOptions = {}) {
  const tmem = smallStack(options.memoryBytes);
  const governor = quietGovernor(options.parts?.tmem ?? tmem);
  const cache = new Cleancache(tmem, PAGE);
  const image = rawImage(new MemoryStorage(Buffer.alloc(MIB), { name: 'disk.raw' }), 'disk');
  const buffers = new BufferPool(MIB, PAGE);
  const disk = new Export({ name: 'disk', image, cache, buffers, mode: 'writethrough' });
  const lines: string[] = [];
  const admin = createAdminServer({
    tmem,
    exports: [disk],
    server: new ServerStatistics(),
    memory: { limitBytes: 64 * MIB, bufferBytes: () => 0 },
    codecName: 'lz4 (native)',
    governor,
    isStopping: () => false,
    pageBytesMax: 8192,
    recordings: recordingsTo().recordings,
    token: options.token,
    log: (line) => lines.push(line),
    ...(options.timeouts === undefined ? {} : { timeouts: options.timeouts }),
    ...options.parts,
  });
  onTestFinished(() => admin.close());
  const address = options.address ?? LOOPBACK;
  const url = await admin.listen(address);
  const place =
    address.kind === 'unix'
      ? { socketPath: address.path }
      : { host: '127.0.0.1', port: Number(new URL(url).port) };
  const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
  onTestFinished(() => agent.destroy());
  const bearer = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };

  const send = async (method: string, path: string, extras: Extras = {}): Promise<Answered> => {
    const body =
      extras.json === undefined ? extras.bytes : Buffer.from(JSON.stringify(extras.json));
    const request = http.request({
      ...place,
      agent,
      method,
      path,
      headers: {
        ...bearer,
        ...(extras.json === undefined ? {} : { 'content-type': 'application/json' }),
        ...(body === undefined ? {} : { 'content-length': body.length }),
        ...(extras.key === undefined ? {} : { 'tmem-pool-key': extras.key }),
        ...extras.headers,
      },
    });
    request.end(body);
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    const pieces: Buffer[] = [];
    for await (const piece of response) pieces.push(piece as Buffer);
    const bytes = Buffer.concat(pieces);
    const type = (response.headers['content-type'] ?? '').split(';')[0] ?? '';
    const isJson = type.endsWith('json') && method !== 'HEAD';
    const json = isJson ? (JSON.parse(bytes.toString()) as Answered['json']) : {};
    return { status: response.statusCode ?? 0, headers: response.headers, type, bytes, json };
  };

  let api: ApiDocument | undefined;
  /** Asks, and holds the answer against the API's document. */
  const ask = async (method: string, path: string, extras: Extras = {}): Promise<Answered> => {
    api ??= new ApiDocument((await send('GET', '/openapi.json')).json);
    const answered = await send(method, path, extras);
    if (method !== 'HEAD') api.check(method, path.split('?')[0] ?? '', answered);
    return answered;
  };

  /** Makes a pool, and answers how it is reached. */
  const makePool = async (request: object = {}, headers: Record<string, string> = {}) => {
    const json = { kind: 'ephemeral', ...request };
    const answered = await ask('POST', '/v1/pools', { json, headers });
    if (answered.status !== 201) throw new Error(`no pool: ${answered.bytes}`);
    const { id, key } = answered.json;
    return { id: Number(id), key: String(key), path: `/v1/pools/${id}` };
  };

  return { admin, url, place, tmem, governor, cache, disk, lines, send, ask, makePool };
}

/** A page that no other seed has, which LZ4 shortens. */
export function page(seed: number, bytes = PAGE): Buffer {
  const buffer = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 8) buffer.writeUInt32LE((seed * 2_654_435_761 + at) >>> 0, at);
  return buffer;
}
