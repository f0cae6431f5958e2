/**
 * The composition root: the one place that knows which layers, images, storages and servers there
 * are, and wires them together. Below it everything knows only what it stands on.
 */

import type { AdminServer } from '../admin/http-server.ts';
import { Export } from '../export/export.ts';
import type { BlockImage } from '../image/image.ts';
import { openRawImage } from '../image/raw.ts';
import { loadCodec } from '../layers/codec.ts';
import { BufferPool } from '../lib/buffer-pool.ts';
import { TmemError } from '../lib/errors.ts';
import type { ListenAddress } from '../lib/listen-address.ts';
import { nbdUri } from '../lib/nbd-uri.ts';
import { WRITER_BYTES } from '../nbd/reply-writer.ts';
import { NbdServer } from '../nbd/server.ts';
import { Cleancache } from '../tmem/cleancache.ts';
import { createAdminServer } from './admin.ts';
import type {
  ExportSettings,
  RunningExport,
  RunningService,
  ServiceLog,
  ServiceSettings,
} from './settings.ts';
import { createStack, type Stack } from './stack.ts';

const MIB = 1024 * 1024;
/** The share of the memory that buffers of requests in flight take, and its bounds. */
const BUFFER_SHARE = 1 / 8;
const BUFFER_BYTES_MIN = 8 * MIB;
const BUFFER_BYTES_MAX = 64 * MIB;

/** Opens the images, builds the stack, listens. Everything is closed again when a part fails. */
export async function startService(
  settings: ServiceSettings,
  options: { readonly log: ServiceLog },
): Promise<RunningService> {
  const service = new Service(settings, options.log);
  try {
    await service.start();
  } catch (cause) {
    await service.stop();
    throw cause;
  }
  return service;
}

/** How the memory is divided; the parts never come to more than the whole. */
export interface MemoryPlan {
  readonly stackBytes: number;
  readonly poolBytes: number;
  /** Clients admitted at a time: each has reply buffers of its own. */
  readonly connectionCount: number;
}

/** Divides `memoryBytes` among the stack and the buffers of requests in flight. */
export function planMemory(memoryBytes: number, maxConnections: number): MemoryPlan {
  const wanted = memoryBytes * BUFFER_SHARE;
  const bufferBytes = Math.min(BUFFER_BYTES_MAX, Math.max(BUFFER_BYTES_MIN, wanted));
  const connectionCount = Math.max(
    1,
    Math.min(maxConnections, Math.floor(bufferBytes / 2 / WRITER_BYTES)),
  );
  const poolBytes = bufferBytes - connectionCount * WRITER_BYTES;
  return { stackBytes: memoryBytes - bufferBytes, poolBytes, connectionCount };
}

class Service implements RunningService {
  exports: readonly RunningExport[] = [];
  metricsUrl: string | undefined;
  readonly codecDescription: string;
  readonly memoryLimitBytes: number;

  readonly #settings: ServiceSettings;
  readonly #log: ServiceLog;
  readonly #stack: Stack;
  readonly #buffers: BufferPool;
  readonly #plan: MemoryPlan;
  readonly #images: BlockImage[] = [];
  /** By image: exports of one read-only image share its pages. */
  readonly #caches = new Map<string, Cleancache>();
  #server: NbdServer | undefined;
  #admin: AdminServer | undefined;
  #stopping: Promise<void> | undefined;

  constructor(settings: ServiceSettings, log: ServiceLog) {
    this.#settings = settings;
    this.#log = log;
    this.memoryLimitBytes = settings.memoryBytes;
    const codec = loadCodec(settings.codec);
    this.codecDescription = codec.name;
    this.#plan = planMemory(settings.memoryBytes, settings.maxConnections);
    this.#buffers = new BufferPool(this.#plan.poolBytes, settings.pageBytes);
    this.#stack = createStack({
      memoryBytes: this.#plan.stackBytes,
      hotFraction: settings.hotFraction,
      pageBytesMax: settings.pageBytes,
      policyName: settings.policyName,
      codec,
    });
  }

  async start(): Promise<void> {
    const settings = this.#settings;
    const exports: Export[] = [];
    for (const each of settings.exports) exports.push(await this.#openExport(each));
    const { connectionCount } = this.#plan;
    if (connectionCount < settings.maxConnections) {
      this.#log.info(`the memory has buffers for ${connectionCount} clients at a time`);
    }
    const server = new NbdServer({
      exports,
      buffers: this.#buffers,
      maxConnections: connectionCount,
      handshakeTimeoutMs: settings.handshakeTimeoutMs,
      spinMicroseconds: settings.spinMicroseconds,
      log: (message) => this.#log.info(message),
    });
    this.#server = server;
    const bound: ListenAddress[] = [];
    for (const address of settings.listen) bound.push(await server.listen(address));
    if (settings.admin !== undefined) await this.#startAdmin(settings.admin, exports, server);
    this.exports = exports.map((each, i) => ({
      name: each.name,
      sizeBytes: each.sizeBytes,
      mode: each.mode,
      uris: bound.flatMap((address) => urisOf(address, each.name, i === 0)),
    }));
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  abort(): void {
    this.#server?.abort();
    this.#admin?.close();
  }

  async #openExport({ name, path, mode }: ExportSettings): Promise<Export> {
    const { wantsDirect, pageBytes } = this.#settings;
    const isReadOnly = mode === 'read-only';
    const image = await openRawImage(path, { isReadOnly, wantsDirect });
    const twin = this.#images.find(({ medium }) => medium === image.medium);
    this.#images.push(image);
    if (twin !== undefined && !(twin.isReadOnly && isReadOnly)) {
      throw new TmemError(
        'usage',
        `${path} is exported twice and could be changed behind a cache's back: ` +
          'offer it once, or every time with --mode read-only',
      );
    }
    let cache = this.#caches.get(image.identity);
    if (cache === undefined) {
      cache = new Cleancache(this.#stack.tmem, pageBytes, this.#stack.lender);
      this.#caches.set(image.identity, cache);
    }
    return new Export({ name, image, cache, buffers: this.#buffers, mode });
  }

  async #startAdmin(
    address: ListenAddress,
    exports: readonly Export[],
    server: NbdServer,
  ): Promise<void> {
    this.#admin = createAdminServer({
      tmem: this.#stack.tmem,
      exports,
      server: server.statistics,
      memory: {
        limitBytes: this.memoryLimitBytes,
        bufferBytes: () => this.#buffers.totalBytes + server.statistics.connections * WRITER_BYTES,
      },
      codecName: this.codecDescription,
      isStopping: () => this.#stopping !== undefined,
      pageBytesMax: this.#settings.pageBytes,
      token: undefined,
      log: (message) => this.#log.info(message),
    });
    this.metricsUrl = await this.#admin.listen(address);
  }

  /** Clients first, so that what they were told is done; then the disks; then those who watch. */
  async #stop(): Promise<void> {
    await this.#server?.stop();
    const failures: unknown[] = [];
    for (const image of this.#images) {
      try {
        if (!image.isReadOnly) await image.sync();
        await image.close();
      } catch (cause) {
        failures.push(cause);
      }
    }
    this.#admin?.close();
    if (failures.length === 0) return;
    const [first] = failures;
    throw first instanceof TmemError
      ? first
      : new TmemError('io', 'closing the images failed', { cause: first });
  }
}

function urisOf(address: ListenAddress, name: string, isDefault: boolean): string[] {
  if (address.kind === 'fd') return [];
  const named = nbdUri(address, name);
  return isDefault ? [named, nbdUri(address, '')] : [named];
}
