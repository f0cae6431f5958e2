/** The configuration that applies: defaults, then the file, then the options. */

import { basename } from 'node:path';
import { TmemError } from '../lib/errors.ts';
import {
  DEFAULT_ADMIN_ADDRESS,
  parseListenAddress,
  type TcpAddress,
  type UnixAddress,
} from '../lib/listen-address.ts';
import { isPageBytes, PAGE_BYTES_MAX, PAGE_BYTES_MIN } from '../lib/page-bytes.ts';
import { formatSize, statedSize } from '../lib/sizes.ts';
import { STACK_BYTES_MAX } from '../lib/stack-bytes.ts';
import type { AvailableMemory } from './available-memory.ts';
import {
  NO_ADMIN,
  type RequestedConfig,
  type RequestedExport,
  type RequestedRamDisk,
  type RequestedSwap,
} from './schema.ts';
import {
  type CODEC_NAMES,
  checkExportName,
  type FORMAT_NAMES,
  type IO_NAMES,
  type MODES,
  type POLICY_NAMES,
} from './values.ts';

/** What an export may take of the memory. */
export interface EffectiveShare {
  readonly weight: number;
  /** Undefined for no cap. */
  readonly capBytes: number | undefined;
  readonly minimumBytes: number;
}

type FormatName = (typeof FORMAT_NAMES)[number];

/** How an image is opened; undefined is what the image or its name says. */
export interface EffectiveOpening {
  readonly format: FormatName | undefined;
  readonly backingFormat: FormatName | undefined;
  readonly passphraseFile: string | undefined;
  /** Which internal snapshot is served instead of the disk; it is read-only. */
  readonly loadSnapshot: string | undefined;
  /** How fast the base is copied into the image; undefined for not at all. */
  readonly copyBase: number | undefined;
}

export interface EffectiveExport {
  readonly name: string;
  readonly path: string;
  readonly mode: (typeof MODES)[number];
  readonly opening: EffectiveOpening;
  readonly share: EffectiveShare;
}

export interface EffectiveSwap {
  readonly name: string;
  readonly sizeBytes: number;
  readonly overflowPath: string | undefined;
  readonly share: EffectiveShare;
}

export interface EffectiveRamDisk {
  readonly name: string;
  readonly sizeBytes: number;
}

/** Where requests may be recorded; nowhere if neither path is given. */
export interface EffectiveRecording {
  readonly path: string | undefined;
  readonly directory: string | undefined;
  readonly limitBytes: number;
  readonly sampleRate: number;
}

type RequestedShare = Pick<RequestedExport, 'weight' | 'cap' | 'minimum'>;

/** Every setting, resolved and checked. */
export interface EffectiveConfig {
  /** Empty when none was named: then the demonstration image is served. */
  readonly exports: readonly EffectiveExport[];
  readonly swaps: readonly EffectiveSwap[];
  readonly ramDisks: readonly EffectiveRamDisk[];
  /** For exports that do not say otherwise. */
  readonly opening: EffectiveOpening;
  /** Directories whose files images may name, beside their own. */
  readonly allowBacking: readonly string[];
  /** For exports that do not say otherwise. */
  readonly mode: (typeof MODES)[number];
  /** Bytes of pages that may be dirty, all exports together. */
  readonly dirtyLimitBytes: number;
  readonly drainSeconds: number;
  readonly snapshotPath: string | undefined;
  readonly record: EffectiveRecording;
  readonly hasGovernor: boolean;
  readonly hasAdvisor: boolean;
  readonly tokenFile: string | undefined;
  readonly memoryBytes: number;
  readonly hotFraction: number;
  readonly policy: (typeof POLICY_NAMES)[number];
  readonly listen: readonly (UnixAddress | TcpAddress)[];
  readonly admin: UnixAddress | TcpAddress | undefined;
  readonly spinMicroseconds: number;
  readonly isBuffered: boolean;
  /** How images are read and written: `auto` is by io_uring where there is one. */
  readonly io: (typeof IO_NAMES)[number];
  readonly codec: (typeof CODEC_NAMES)[number];
  readonly pageBytes: number;
  readonly maxConnections: number;
  readonly handshakeTimeoutMs: number;
}

/** What the defaults depend on. */
export interface Surroundings {
  readonly memory: AvailableMemory;
  /** The listening sockets come from the parent process; then there is no admin port by default. */
  readonly isActivated: boolean;
}

const MIB = 1024 * 1024;
const MEMORY_BYTES_MIN = 32 * MIB;
/** What a few requests bring. */
const DIRTY_BYTES_MIN = 4 * MIB;
/** 33 million requests. */
const RECORD_BYTES_DEFAULT = 1024 * MIB;
const DEFAULT_LISTEN: TcpAddress = { kind: 'tcp', host: '127.0.0.1', port: 10809 };
const DEFAULT_ADMIN = parseListenAddress(DEFAULT_ADMIN_ADDRESS);

/** `setting` is the one to change, as `swap.0.minimum`. */
function refuse(message: string, setting: string): never {
  throw new TmemError('usage', message, { context: { setting } });
}

/** A quarter of what there is, as far as it can be used, in whole MiB so that it reads well. */
function defaultMemory(available: AvailableMemory): number {
  const quarter = Math.floor(available.bytes / 4 / MIB) * MIB;
  return Math.min(STACK_BYTES_MAX, Math.max(MEMORY_BYTES_MIN, quarter));
}

function checkMemory(bytes: number, available: AvailableMemory): void {
  if (bytes < MEMORY_BYTES_MIN) {
    refuse(
      `memory is ${statedSize(bytes)}; it must be at least ${statedSize(MEMORY_BYTES_MIN)}`,
      'memory',
    );
  }
  if (bytes > available.bytes) {
    const most = formatSize(available.bytes);
    refuse(
      `memory is ${formatSize(bytes)}, but ${available.owner} has ${most}; choose less`,
      'memory',
    );
  }
  if (bytes > STACK_BYTES_MAX) {
    const most = statedSize(STACK_BYTES_MAX);
    refuse(
      `memory is ${formatSize(bytes)}; one service takes at most ${most}, so start several`,
      'memory',
    );
  }
}

function checkPageSize(bytes: number): void {
  if (isPageBytes(bytes)) return;
  const range = `from ${statedSize(PAGE_BYTES_MIN)} to ${statedSize(PAGE_BYTES_MAX)}`;
  refuse(`pageSize is ${statedSize(bytes)}; it must be a power of two ${range}`, 'pageSize');
}

/** A quarter of the memory, unless it is said. */
function resolveDirtyLimit(asked: number | undefined, memoryBytes: number): number {
  if (asked === undefined) return Math.floor(memoryBytes / 4 / MIB) * MIB;
  if (asked >= DIRTY_BYTES_MIN && asked <= memoryBytes) return asked;
  const range = `${statedSize(DIRTY_BYTES_MIN)} to ${statedSize(memoryBytes)}, the memory`;
  refuse(`dirtyLimit is ${statedSize(asked)}; it must be ${range}`, 'dirtyLimit');
}

function resolveShare(
  name: string,
  asked: RequestedShare,
  memoryBytes: number,
  place: string,
): EffectiveShare {
  const { weight = 100, cap, minimum = 0 } = asked;
  const most = cap ?? memoryBytes;
  if (minimum > most) {
    const bound = `${cap === undefined ? 'the memory' : 'its cap'}, ${statedSize(most)}`;
    refuse(
      `the minimum of "${name}" is ${statedSize(minimum)}, more than ${bound}; choose less`,
      `${place}.minimum`,
    );
  }
  return { weight, capBytes: cap, minimumBytes: minimum };
}

/** What is guaranteed must be there. */
function checkMinimums(owners: readonly { share: EffectiveShare }[], memoryBytes: number): void {
  let bytes = 0;
  for (const { share } of owners) bytes += share.minimumBytes;
  if (bytes * 2 <= memoryBytes) return;
  refuse(
    `the minimums come to ${statedSize(bytes)}, more than half of the memory; guarantee less, or give more memory`,
    'memory',
  );
}

function refuseName(name: string, place: string): never {
  refuse(`there are two exports "${name}"; give one of them another name`, `${place}.name`);
}

function resolveSwaps(
  requested: readonly RequestedSwap[],
  exports: readonly EffectiveExport[],
  memoryBytes: number,
): EffectiveSwap[] {
  const names = new Set(exports.map(({ name }) => name));
  return requested.map((each, index) => {
    const { name, size, overflow } = each;
    const place = `swap.${index}`;
    if (names.has(name)) refuseName(name, place);
    names.add(name);
    const share = resolveShare(name, each, memoryBytes, place);
    return { name, sizeBytes: size, overflowPath: overflow, share };
  });
}

function resolveRamDisks(
  requested: readonly RequestedRamDisk[],
  others: readonly { readonly name: string }[],
  available: AvailableMemory,
): EffectiveRamDisk[] {
  const names = new Set(others.map(({ name }) => name));
  let bytes = 0;
  return requested.map(({ name, size }, index) => {
    if (names.has(name)) refuseName(name, `ram.${index}`);
    names.add(name);
    bytes += size;
    if (bytes > available.bytes) {
      const most = formatSize(available.bytes);
      refuse(
        `the RAM disks come to ${formatSize(bytes)}, but ${available.owner} has ${most}; choose less`,
        `ram.${index}.size`,
      );
    }
    return { name, sizeBytes: size };
  });
}

function openingOf(asked: Partial<EffectiveOpening>): EffectiveOpening {
  const { format, backingFormat, passphraseFile, loadSnapshot, copyBase } = asked;
  return { format, backingFormat, passphraseFile, loadSnapshot, copyBase };
}

/** An internal snapshot can not be written; that is said, not silently done otherwise. */
function checkMode(
  path: string,
  mode: EffectiveExport['mode'],
  opening: EffectiveOpening,
  place: string,
): void {
  if (opening.loadSnapshot === undefined || mode === 'read-only') return;
  refuse(`a snapshot in ${path} can only be read; give it the mode read-only`, place);
}

function resolveExports(
  requested: readonly RequestedExport[],
  modeOf: (each: RequestedExport) => EffectiveExport['mode'],
  memoryBytes: number,
  defaults: EffectiveOpening,
): EffectiveExport[] {
  const pathByName = new Map<string, string>();
  return requested.map((each, index) => {
    const place = `exports.${index}`;
    const name = each.name ?? basename(each.path);
    checkExportName(name);
    const other = pathByName.get(name);
    if (other !== undefined) {
      const what = `both ${other} and ${each.path} would be the export "${name}"`;
      refuse(`${what}; give one of them another name, as with NAME=IMAGE`, place);
    }
    pathByName.set(name, each.path);
    const share = resolveShare(name, each, memoryBytes, place);
    const opening = openingOf({ ...defaults, ...each });
    const mode = modeOf(each);
    checkMode(each.path, mode, opening, place);
    return { name, path: each.path, mode, opening, share };
  });
}

/**
 * Applies `options` over `file` over the defaults. The images, and the addresses, of the options
 * replace those of the file; the mode of the options holds for every export. Paths must be absolute
 * already. Throws a usage error when the whole cannot work, whose context has the `setting` to change.
 */
export function resolveConfig(
  file: RequestedConfig,
  options: RequestedConfig,
  surroundings: Surroundings,
): EffectiveConfig {
  const asked: RequestedConfig = { ...file, ...options };
  const mode = asked.mode ?? 'writethrough';
  const defaultAdmin = surroundings.isActivated ? undefined : DEFAULT_ADMIN;
  const memoryBytes = asked.memory ?? defaultMemory(surroundings.memory);
  checkMemory(memoryBytes, surroundings.memory);
  const pageBytes = asked.pageSize ?? PAGE_BYTES_MIN;
  checkPageSize(pageBytes);
  const modeOf = (each: RequestedExport) => options.mode ?? each.mode ?? mode;
  const opening = openingOf(asked);
  const exports = resolveExports(asked.exports ?? [], modeOf, memoryBytes, opening);
  const swaps = resolveSwaps(asked.swap ?? [], exports, memoryBytes);
  const ramDisks = resolveRamDisks(asked.ram ?? [], [...exports, ...swaps], surroundings.memory);
  checkMinimums([...exports, ...swaps], memoryBytes);
  return {
    exports,
    swaps,
    ramDisks,
    mode,
    opening,
    allowBacking: asked.allowBacking ?? [],
    dirtyLimitBytes: resolveDirtyLimit(asked.dirtyLimit, memoryBytes),
    drainSeconds: asked.drainTimeout ?? 60,
    snapshotPath: asked.snapshot,
    record: {
      path: asked.record,
      directory: asked.recordDir,
      limitBytes: asked.recordLimit ?? RECORD_BYTES_DEFAULT,
      sampleRate: asked.recordSample ?? 1,
    },
    hasGovernor: asked.governor ?? true,
    hasAdvisor: asked.advisor ?? true,
    tokenFile: asked.tokenFile,
    memoryBytes,
    hotFraction: asked.hot ?? 0.25,
    policy: asked.policy ?? 's3fifo-cw',
    listen: asked.listen ?? [DEFAULT_LISTEN],
    admin: asked.admin === NO_ADMIN ? undefined : (asked.admin ?? defaultAdmin),
    spinMicroseconds: asked.spin ?? 150,
    isBuffered: asked.buffered ?? false,
    io: asked.io ?? 'auto',
    codec: asked.codec ?? 'auto',
    pageBytes,
    maxConnections: asked.maxConnections ?? 100,
    handshakeTimeoutMs: asked.handshakeTimeoutMs ?? 10_000,
  };
}
