/**
 * The composition root: the one place that knows which layers, images, storages and servers there
 * are, and wires them together. Below it everything knows only what it stands on.
 */

import type { AdminServer } from '../admin/server.ts';
import type { BaseImages } from '../export/base-images.ts';
import type { Export } from '../export/export.ts';
import { Governor } from '../governor/governor.ts';
import { loadCodec, type PageCodec } from '../layers/codec.ts';
import { BufferPool } from '../lib/buffer-pool.ts';
import { bindForgetMemory, type ForgetMemory } from '../lib/forget-memory.ts';
import type { ListenAddress } from '../lib/listen-address.ts';
import { nbdUris } from '../lib/nbd-uri.ts';
import { formatSize } from '../lib/sizes.ts';
import { NbdServer } from '../nbd/server.ts';
import { WRITER_BYTES } from '../nbd/transmission/reply-writer.ts';
import { createAdminServer } from './admin/admin.ts';
import { ImageSources } from './admin/image-sources.ts';
import { Advisors, planAdvisorsOf } from './advisors.ts';
import { BaseCopies } from './base-copies.ts';
import { type Disk, openDisks } from './disks.ts';
import { dirtyBytesOf } from './drain.ts';
import { endInOrder } from './ending.ts';
import { createExports, type Served } from './exports.ts';
import { memoryNeeds, overflowBufferBytes } from './memory/needs.ts';
import { CLIENTS_MEMORY_BYTES_MAX, type MemoryPlan, planMemory } from './memory/plan.ts';
import { Recordings } from './recording/recordings.ts';
import type { RunningExport, RunningService, ServiceLog, ServiceSettings } from './settings.ts';
import { createStack, floorBytes, type Stack } from './stack.ts';
import { WarmRestart } from './warm-restart.ts';
import { FailedRequests, watchedRequests } from './warnings/failed-requests.ts';
import { FileNames } from './warnings/file-names.ts';
import { FullSwaps, swapsInMemory } from './warnings/full-swaps.ts';
import { WriteBackRequests } from './write-back-requests.ts';

const NO_DESCRIPTOR =
  'the system lets this service have no more files open: clients who come now are hung up on; let it ' +
  'have more (ulimit -n, LimitNOFILE= of systemd) and start it anew, or have fewer clients';

/** Opens the disks, builds the stack, listens. Everything is closed again when a part fails. */
export async function startService(
  settings: ServiceSettings,
  options: { readonly log: ServiceLog },
): Promise<RunningService> {
  const codec = loadCodec(settings.codec);
  const forget = await bindForgetMemory();
  const disks = await openDisks(settings, codec, options.log);
  let service: Service | undefined;
  try {
    service = new Service(settings, { codec, forget, disks, log: options.log });
    await service.start();
    return service;
  } catch (cause) {
    if (service !== undefined) await service.stop();
    else for (const { image } of disks) await image.close();
    throw cause;
  }
}

/** What is found or opened before there is a service. */
interface ServiceParts {
  readonly codec: PageCodec;
  readonly forget: ForgetMemory | undefined;
  readonly disks: readonly Disk[];
  readonly log: ServiceLog;
}

class Service implements RunningService {
  exports: readonly RunningExport[] = [];
  metricsUrl: string | undefined;
  readonly codecDescription: string;
  readonly memoryLimitBytes: number;

  readonly #settings: ServiceSettings;
  readonly #log: ServiceLog;
  readonly #served: readonly Served[];
  readonly #plan: MemoryPlan;
  readonly #stack: Stack;
  readonly #buffers: BufferPool;
  readonly #exports: readonly Export[];
  readonly #advisors: Advisors;
  /** Buffers that do not change: those of writers and overflows. */
  readonly #fixedBufferBytes: number;
  readonly #governor: Governor;
  readonly #baseImages: BaseImages;
  readonly #baseCopies: BaseCopies;
  readonly #warmRestart: WarmRestart | undefined;
  readonly #server: NbdServer;
  readonly #recordings: Recordings;
  readonly #fullSwaps: FullSwaps;
  readonly #failedRequests: FailedRequests;
  readonly #fileNames: FileNames;
  #admin: AdminServer | undefined;
  #hasStarted = false;
  #stopping: Promise<void> | undefined;

  constructor(settings: ServiceSettings, { codec, forget, disks, log }: ServiceParts) {
    const { memoryBytes, pageBytes } = settings;
    this.#settings = settings;
    this.#log = log;
    this.memoryLimitBytes = memoryBytes;
    this.codecDescription = codec.name;
    this.#plan = planMemory(memoryBytes, (bytes) => memoryNeeds(settings, disks, bytes));
    this.#buffers = new BufferPool(this.#plan.poolBytes, pageBytes);
    this.#stack = createStack({
      memoryBytes: this.#plan.stackBytes,
      hotFraction: settings.hotFraction,
      pageBytesMax: pageBytes,
      policyName: settings.policyName,
      codec,
      forget,
    });
    const parts = { stack: this.#stack, pageBytes, buffers: this.#buffers, plan: this.#plan, log };
    const { served, baseImages, writerBytes } = createExports(disks, parts);
    const exports = served.map(({ target }) => target);
    this.#served = served;
    this.#exports = exports;
    this.#baseImages = baseImages;
    this.#baseCopies = new BaseCopies({ served, baseImages, log });
    const advisorsPlan = planAdvisorsOf(settings, disks, memoryBytes);
    this.#advisors = new Advisors(advisorsPlan, exports, this.#stack.tmem);
    this.#fixedBufferBytes = writerBytes + overflowBufferBytes(disks);
    this.#governor = this.#createGovernor();
    this.#warmRestart = this.#createWarmRestart();
    this.#server = new NbdServer({
      exports,
      maxConnections: this.#plan.connectionCount,
      handshakeTimeoutMs: settings.handshakeTimeoutMs,
      spinMicroseconds: settings.spinMicroseconds,
      log: (message) => this.#log.info(message),
      onFull: () => this.#log.warn(this.#fullSentence()),
      onNoDescriptor: () => this.#log.warn(NO_DESCRIPTOR),
    });
    this.#fullSwaps = new FullSwaps(swapsInMemory(served), log);
    this.#failedRequests = new FailedRequests(watchedRequests(served), log);
    this.#fileNames = new FileNames(exports, log);
    this.#recordings = new Recordings({
      settings: settings.record,
      recording: this.#server.recording,
      exportNames: exports.map(({ name }) => name),
      log,
    });
  }

  async start(): Promise<void> {
    const settings = this.#settings;
    for (const { image } of this.#exports) {
      if (image.isLocked) continue;
      this.#log.warn(
        `"${image.name}" is not locked against other services: its file system or this installation ` +
          'has no locks; see to it that nobody else opens it',
      );
    }
    const { connectionCount } = this.#plan;
    if (connectionCount < settings.maxConnections) {
      this.#log.info(`the memory has buffers for ${connectionCount} clients at a time`);
    }
    await this.#warmRestart?.start();
    const bound: ListenAddress[] = [];
    for (const address of settings.listen) bound.push(await this.#server.listen(address));
    if (settings.admin !== undefined) await this.#startAdmin(settings.admin);
    // Last of what can fail: a start that failed would leave a file in the way of the next.
    await this.#recordings.startConfigured();
    if (settings.hasGovernor) this.#governor.start();
    this.#baseCopies.start();
    this.#fullSwaps.start();
    this.#failedRequests.start();
    this.#hasStarted = true;
    this.exports = this.#exports.map((each, i) => ({
      name: each.name,
      sizeBytes: each.sizeBytes,
      mode: each.mode,
      uris: bound.flatMap((address) => nbdUris(address, each.name, i === 0)),
    }));
    this.#fileNames.start(this.exports);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  abort(): void {
    const bytes = dirtyBytesOf(this.#exports);
    if (bytes > 0) this.#log.warn(`${formatSize(bytes)} were not written back and are lost`);
    this.#server.abort();
    this.#admin?.close();
  }

  #fullSentence(): string {
    const { connectionCount } = this.#plan;
    const { maxConnections, memoryBytes } = this.#settings;
    const sentence = `clients are turned away, for ${connectionCount} are connected`;
    if (connectionCount === maxConnections) return `${sentence}; raise maxConnections`;
    const advice = `${sentence} and have all the buffers; let each use fewer connections`;
    if (memoryBytes >= CLIENTS_MEMORY_BYTES_MAX) return advice;
    return `${advice}, or give more memory, up to ${formatSize(CLIENTS_MEMORY_BYTES_MAX)}`;
  }

  #createGovernor(): Governor {
    const { tmem } = this.#stack;
    const writeBacks = new WriteBackRequests(this.#served);
    return new Governor({
      reclaimable: {
        get usedBytes() {
          return tmem.usedBytes;
        },
        get limitBytes() {
          return tmem.limitBytes;
        },
        setLimit: (bytes) => tmem.setLimit(bytes),
        shrink: (bytes) => tmem.shrink(bytes),
        trimToCaps: (pagesMax) => tmem.trimToCaps(pagesMax),
        requestWriteBack: (bytes) => writeBacks.reduce(bytes),
        requestFit: () => writeBacks.fitShares(),
      },
      configuredBytes: this.#plan.stackBytes,
      floorBytes: floorBytes(tmem),
      log: this.#log,
    });
  }

  #createWarmRestart(): WarmRestart | undefined {
    const { snapshotPath: path, pageBytes } = this.#settings;
    if (path === undefined) return undefined;
    const { tmem } = this.#stack;
    const images = { served: this.#served, baseImages: this.#baseImages };
    return new WarmRestart({ path, pageBytes, tmem, ...images, log: this.#log });
  }

  async #startAdmin(address: ListenAddress): Promise<void> {
    const { statistics } = this.#server;
    const warmRestart = this.#warmRestart;
    const images = new ImageSources(this.#exports, this.#baseImages);
    this.#admin = createAdminServer({
      tmem: this.#stack.tmem,
      pageBytesMax: this.#settings.pageBytes,
      exports: this.#exports,
      server: statistics,
      memory: {
        limitBytes: this.memoryLimitBytes,
        bufferBytes: () =>
          this.#buffers.totalBytes +
          this.#fixedBufferBytes +
          this.#recordings.bufferBytes +
          statistics.connections * WRITER_BYTES,
      },
      images: {
        bases: () => this.#baseImages.all,
        all: () => images.read(),
        copies: () => this.#baseCopies.progress,
      },
      codecName: this.codecDescription,
      advisors: this.#advisors,
      governor: this.#governor,
      recordings: this.#recordings,
      snapshot: warmRestart && (() => warmRestart.save()),
      loaded: () => warmRestart?.loader.statistics,
      overflows: this.#served.flatMap(({ disk }) => disk.overflow ?? []),
      isStopping: () => this.#stopping !== undefined,
      bodyBytesMax: this.#plan.bodyBytes,
      token: this.#settings.token,
      log: (message) => this.#log.info(message),
    });
    this.metricsUrl = await this.#admin.listen(address);
  }

  async #stop(): Promise<void> {
    this.#governor.stop();
    await endInOrder({
      log: this.#log,
      drainMsMax: this.#settings.drainMsMax,
      server: this.#server,
      exports: this.#exports,
      warmRestart: this.#warmRestart,
      hasStarted: this.#hasStarted,
      fullSwaps: this.#fullSwaps,
      failedRequests: this.#failedRequests,
      recordings: this.#recordings,
      baseCopies: this.#baseCopies,
      fileNames: this.#fileNames,
    }).finally(() => this.#admin?.close());
  }
}
