/** The service as its administrative API sees it: one object that reads and turns its parts. */

import type {
  ExportStatus,
  LayerStatus,
  MemoryStatus,
  PoolStatus,
  RecordRequest,
  RecordStatus,
  ServiceStatus,
  ShareStatus,
  SnapshotStatus,
} from '../../admin/api.ts';
import type { Controls, DrainStatus, ShareChange } from '../../admin/controls.ts';
import type { ClientPools } from '../../admin/pools/client-pools.ts';
import { dropPages } from '../../admin/pools/drop-pages.ts';
import type { Export } from '../../export/export.ts';
import type { Governor } from '../../governor/governor.ts';
import type { CheckReport } from '../../image/format.ts';
import { TmemError } from '../../lib/errors.ts';
import { packageVersion } from '../../lib/package-version.ts';
import { statedSize } from '../../lib/sizes.ts';
import { turnOfTheLoop } from '../../lib/turn-of-the-loop.ts';
import type { ServerStatistics } from '../../nbd/statistics.ts';
import type { Account } from '../../tmem/account.ts';
import type { Pool } from '../../tmem/pool.ts';
import type { Tmem } from '../../tmem/tmem.ts';
import type { Advisors } from '../advisors.ts';
import type { Recordings } from '../recording/recordings.ts';
import { floorBytes, guaranteedBytes } from '../stack.ts';
import {
  exportOwners,
  exportStatus,
  layerStatus,
  memoryUsage,
  poolStatus,
  shareOf,
} from './status.ts';

const MS_PER_SECOND = 1000;

/** What is used of a governor. */
type GovernorControl = Pick<
  Governor,
  'state' | 'setConfiguredLimit' | 'setFloor' | 'fitCaps' | 'reclaim'
>;

export interface ControlledParts {
  readonly tmem: Tmem;
  readonly exports: readonly Export[];
  readonly server: ServerStatistics;
  /** What all memory may come to as configured at the start, and what buffers take of it now. */
  readonly memory: { readonly limitBytes: number; readonly bufferBytes: () => number };
  readonly codecName: string;
  readonly isStopping: () => boolean;
  /** What is known of other memory for the exports; undefined where advice is off. */
  readonly advisors?: Advisors | undefined;
  /** Who holds the layers to their limit. */
  readonly governor: GovernorControl;
  /** Saves the clean pages; without it there is no snapshot. */
  readonly snapshot?: (() => Promise<SnapshotStatus>) | undefined;
  readonly recordings: Recordings;
}

export class ServiceControls implements Controls {
  readonly #parts: ControlledParts;
  readonly #clientPools: ClientPools;
  readonly #startedAt = new Date();
  /** On the clock that only grows: that of the day may be set while the service runs. */
  readonly #startedMs = performance.now();
  /** What the limit of all memory is more than that of the layers: the buffers. */
  readonly #reservedBytes: number;

  constructor(parts: ControlledParts, clientPools: ClientPools) {
    this.#parts = parts;
    this.#clientPools = clientPools;
    const { governor, memory } = parts;
    this.#reservedBytes = memory.limitBytes - governor.state.configuredBytes;
  }

  /** What all memory may come to now: that of the start, or less if less was set since. */
  get memoryLimitBytes(): number {
    return this.#parts.governor.state.configuredBytes + this.#reservedBytes;
  }

  status(): ServiceStatus {
    const { tmem, server, codecName } = this.#parts;
    return {
      version: packageVersion(),
      startedAt: this.#startedAt.toISOString(),
      uptimeSeconds: (performance.now() - this.#startedMs) / MS_PER_SECOND,
      isStopping: this.#parts.isStopping(),
      isFrozen: tmem.layers.every(({ isFrozen }) => isFrozen),
      codec: codecName,
      connections: server.connections,
      memory: this.#memory(),
      layers: this.layers(),
      exports: this.exports(),
      pools: this.pools(),
    };
  }

  layers(): readonly LayerStatus[] {
    return this.#parts.tmem.layers.map(layerStatus);
  }

  exports(): readonly ExportStatus[] {
    return this.#parts.exports.map((each) => this.#statusOf(each));
  }

  export(name: string): ExportStatus {
    return this.#statusOf(this.#exportOf(name));
  }

  pools(): readonly PoolStatus[] {
    const owners = exportOwners(this.#parts.exports);
    return Array.from(this.#parts.tmem.pools, (pool) => {
      const owner = this.#clientPools.ownerOf(pool) ?? owners.get(pool) ?? pool.account.name;
      return poolStatus(pool, owner);
    });
  }

  freeableBytes(): number {
    return memoryUsage(this.#parts.tmem.layers).freeableBytes;
  }

  freeze(): void {
    this.#parts.tmem.freeze();
  }

  thaw(): void {
    this.#parts.tmem.thaw();
  }

  setMemoryLimit(bytes: number): MemoryStatus {
    const { tmem, governor, memory } = this.#parts;
    if (bytes > memory.limitBytes) {
      throw new TmemError(
        'usage',
        `the tables of this service were made for ${statedSize(memory.limitBytes)}; ` +
          'start it anew with --memory to give it more',
      );
    }
    if (bytes <= this.#reservedBytes) {
      throw new TmemError(
        'usage',
        `the buffers of requests alone take ${statedSize(this.#reservedBytes)}; ask for more than that`,
      );
    }
    const minimumBytes = guaranteedBytes(tmem);
    if (bytes - this.#reservedBytes < minimumBytes) {
      throw new TmemError(
        'usage',
        `${statedSize(minimumBytes)} are guaranteed as minimums beside ` +
          `${statedSize(this.#reservedBytes)} for buffers; lower the minimums first, or ask for more`,
      );
    }
    governor.setConfiguredLimit(bytes - this.#reservedBytes);
    return this.#memory();
  }

  shrink(bytes: number): Promise<number> {
    return this.#parts.governor.reclaim(bytes);
  }

  /** Tells the governor what is guaranteed; for whoever changes that, or ends a pool. */
  fitFloor(): void {
    // It must be there when the governor has taken all it may.
    this.#parts.governor.setFloor(floorBytes(this.#parts.tmem));
  }

  setExportShare(name: string, change: ShareChange): ShareStatus {
    return this.#setShare(this.#exportOf(name).cache.pool.account, change);
  }

  setPoolShare(id: number, change: ShareChange): ShareStatus {
    return this.#setShare(this.#poolOf(id).account, change);
  }

  check(name: string, signal: AbortSignal): Promise<CheckReport> {
    return this.#exportOf(name).image.checkOnline({ signal });
  }

  async drain(name: string, signal: AbortSignal): Promise<DrainStatus> {
    const each = this.#exportOf(name);
    if (!each.isDurable) {
      throw new TmemError(
        'unsupported',
        `${JSON.stringify(name)} is a swap device: what is written to it stays in memory, and need not be drained`,
      );
    }
    // What clients write while a drain runs may be dirty after it.
    while (each.dirtyBytes > 0 && !signal.aborted) {
      try {
        await each.drain(signal);
      } catch {
        break; // it is too late, or no further try can help: the status of the export says why
      }
      await turnOfTheLoop();
    }
    const { dirtyBytes } = each;
    return { isClean: dirtyBytes === 0, dirtyBytes };
  }

  flushPage(id: number, object: number, index: number): number {
    return this.#poolToDropFrom(id).flushPage(object, index) ? 1 : 0;
  }

  flushObject(id: number, object: number): number {
    return this.#poolToDropFrom(id).flushObject(object);
  }

  async flushPool(id: number): Promise<number> {
    const pool = this.#poolToDropFrom(id);
    return dropPages(pool, new Set(pool.objects())); // not those that guests add meanwhile
  }

  async snapshot(): Promise<SnapshotStatus> {
    const { snapshot } = this.#parts;
    if (snapshot !== undefined) {
      return snapshot().catch((cause: unknown) => {
        throw ownFailure(cause);
      });
    }
    throw new TmemError(
      'unsupported',
      'this service was given no file for a snapshot; start it with --snapshot FILE',
    );
  }

  recordStatus(): RecordStatus {
    return this.#parts.recordings.status();
  }

  startRecording(request: RecordRequest): Promise<RecordStatus> {
    return this.#parts.recordings.start(request);
  }

  stopRecording(): Promise<RecordStatus> {
    return this.#parts.recordings.stop();
  }

  #statusOf(each: Export): ExportStatus {
    return exportStatus(each, this.#parts.advisors?.statusOf(each.name) ?? null);
  }

  #memory(): MemoryStatus {
    const { tmem, memory, governor } = this.#parts;
    const usage = memoryUsage(tmem.layers);
    const { targetBytes, reason, readings } = governor.state;
    const stalls = readings?.groupStalls ?? readings?.machineStalls;
    return {
      configuredLimitBytes: this.memoryLimitBytes,
      limitBytes: targetBytes + this.#reservedBytes,
      dataBytes: usage.dataBytes,
      metadataBytes: usage.metadataBytes,
      bufferBytes: memory.bufferBytes(),
      freeableBytes: usage.freeableBytes,
      pressure:
        readings === undefined
          ? null
          : { reason, psiSomeAvg10: stalls === undefined ? null : stalls.someShare10s * 100 },
    };
  }

  #setShare(account: Account, { weight, capBytes, minimumBytes }: ShareChange): ShareStatus {
    if (minimumBytes !== undefined) this.#checkMinimum(account, minimumBytes);
    account.setShare({
      ...(weight === undefined ? {} : { weight }),
      ...(capBytes === undefined ? {} : { capBytes: capBytes ?? Number.POSITIVE_INFINITY }),
      ...(minimumBytes === undefined ? {} : { minimumBytes }),
    });
    this.fitFloor();
    this.#parts.governor.fitCaps();
    return shareOf(account);
  }

  /** Throws `usage` when the memory is too little for all that is guaranteed with this. */
  #checkMinimum(account: Account, minimumBytes: number): void {
    const limitBytes = this.#parts.governor.state.configuredBytes;
    const othersBytes = guaranteedBytes(this.#parts.tmem) - account.minimumBytes;
    const leftBytes = Math.max(0, limitBytes - othersBytes);
    if (minimumBytes <= leftBytes) return;
    throw new TmemError(
      'usage',
      `of the memory for pages ${statedSize(leftBytes)} are guaranteed to nobody else; ` +
        'ask for a minimum of no more than that',
    );
  }

  #exportOf(name: string): Export {
    const found = this.#parts.exports.find((each) => each.name === name);
    if (found !== undefined) return found;
    throw new TmemError(
      'not-found',
      `there is no export ${JSON.stringify(name)}; tmem ctl exports and /v1/exports list them`,
    );
  }

  #poolOf(id: number): Pool {
    for (const pool of this.#parts.tmem.pools) if (pool.id === id) return pool;
    throw unknownPool(id);
  }

  /** A pool of the service's own whose pages may go: they can all be read from an image. */
  #poolToDropFrom(id: number): Pool {
    const pool = this.#poolOf(id);
    // One that is a client's still, though nobody can reach it, is about to be gone.
    if (this.#clientPools.ownerOf(pool) !== undefined) throw unknownPool(id);
    if (!pool.isPersistent) return pool;
    const owner = this.#parts.exports.find(({ dirtyPool }) => dirtyPool === pool);
    const name = JSON.stringify(owner?.name ?? 'NAME');
    if (owner?.isDurable === false) {
      throw new TmemError(
        'busy',
        `pool ${id} holds what clients wrote to the swap device ${name}, which is nowhere else; have ` +
          'them discard what they do not need',
      );
    }
    throw new TmemError(
      'busy',
      `pool ${id} holds writes that the image of ${name} does not have yet; drain it instead, with ` +
        'tmem ctl drain or POST /v1/exports/NAME/drain',
    );
  }
}

/** What is wrong with a file of the service's own is no mistake of whoever asked for it. */
function ownFailure(cause: unknown): unknown {
  if (!(cause instanceof TmemError)) return cause;
  const { kind, message, context } = cause;
  if (kind === 'no-space' || kind === 'shutdown') return cause;
  return new TmemError('io', message, { context, cause });
}

function unknownPool(id: number): TmemError {
  return new TmemError(
    'not-found',
    `there is no pool ${id}; tmem ctl pools and /v1/pools list them`,
  );
}
