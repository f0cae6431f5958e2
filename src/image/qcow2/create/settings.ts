/** What may be said of a new qcow2 image, as `qemu-img create -o` says it, and what goes together. */

import { TmemError } from '../../../lib/errors.ts';
import { parseSize } from '../../../lib/sizes.ts';
import type { PlanOptions } from '../../format.ts';
import { DIGEST_BYTES, type LuksHash } from '../../luks/anti-forensic.ts';
import { PASSPHRASE_ADVICE } from '../../luks/header.ts';
import {
  CLUSTER_BITS_MAX,
  CLUSTER_BITS_MIN,
  CLUSTER_BITS_MIN_EXTENDED,
  REFCOUNT_ORDER_MAX,
} from '../structures/layout.ts';

const PREALLOCATIONS = ['off', 'metadata', 'falloc', 'full'] as const;
const COMPRESSIONS = ['zlib', 'zstd'] as const;
const CIPHERS = ['aes-128', 'aes-256'] as const;

/** Rounds of PBKDF2 that a core of 2020 does in a millisecond. */
const ITERATIONS_PER_MS = 2000;
const ITERATION_MS_MAX = 60_000;

export interface CreateSettings {
  readonly version: 2 | 3;
  readonly clusterBytes: number;
  readonly refcountBits: number;
  readonly isExtended: boolean;
  readonly isLazy: boolean;
  readonly compression: (typeof COMPRESSIONS)[number];
  readonly preallocation: (typeof PREALLOCATIONS)[number];
  /** The name of the data file, if there is to be one. */
  readonly dataFile: string | undefined;
  readonly isDataFileRaw: boolean;
  /** Set for an enciphered image. */
  readonly luks: LuksSettings | undefined;
}

export interface LuksSettings {
  readonly keyBytes: number;
  readonly hash: LuksHash;
  readonly iterations: number;
}

const KNOWN = [
  'compat',
  'cluster_size',
  'refcount_bits',
  'extended_l2',
  'lazy_refcounts',
  'compression_type',
  'preallocation',
  'data_file',
  'data_file_raw',
  'encrypt.format',
  'encrypt.cipher-alg',
  'encrypt.hash-alg',
  'encrypt.iter-time',
] as const;

type Settings = Readonly<Record<string, string>>;

/** Throws a usage error that names the setting and what it may be. */
export function parseCreateSettings(options: PlanOptions): CreateSettings {
  const { settings } = options;
  for (const name of Object.keys(settings)) {
    if ((KNOWN as readonly string[]).includes(name)) continue;
    throw usage(`a qcow2 image has no setting "${name}"; it has ${KNOWN.join(', ')}`);
  }
  const compat = oneOf(settings, 'compat', ['1.1', '0.10', 'v3', 'v2']);
  const wish: CreateSettings = {
    version: compat === '0.10' || compat === 'v2' ? 2 : 3,
    clusterBytes: powerOfTwo(settings, 'cluster_size', 65_536, clusterRange),
    refcountBits: powerOfTwo(settings, 'refcount_bits', 16, [1, 2 ** REFCOUNT_ORDER_MAX]),
    isExtended: isOn(settings, 'extended_l2'),
    isLazy: isOn(settings, 'lazy_refcounts'),
    compression: oneOf(settings, 'compression_type', COMPRESSIONS),
    preallocation: oneOf(settings, 'preallocation', PREALLOCATIONS),
    dataFile: settings.data_file,
    isDataFileRaw: isOn(settings, 'data_file_raw'),
    luks: parseLuks(settings),
  };
  checkVersion(wish);
  checkTogether(wish, options);
  // Only tables that map everything keep the data file what the guest sees.
  const isMapped = wish.isDataFileRaw && wish.preallocation === 'off';
  return isMapped ? { ...wish, preallocation: 'metadata' } : wish;
}

const clusterRange: readonly [number, number] = [2 ** CLUSTER_BITS_MIN, 2 ** CLUSTER_BITS_MAX];

function parseLuks(settings: Settings): LuksSettings | undefined {
  if (settings['encrypt.format'] === undefined) {
    const [orphan] = Object.keys(settings).filter((name) => name.startsWith('encrypt.'));
    if (orphan === undefined) return undefined;
    throw usage(`"${orphan}" goes with encrypt.format=luks; add that`);
  }
  oneOf(settings, 'encrypt.format', ['luks']);
  const cipher = oneOf(
    { 'encrypt.cipher-alg': 'aes-256', ...settings },
    'encrypt.cipher-alg',
    CIPHERS,
  );
  const hashes = Object.keys(DIGEST_BYTES) as LuksHash[];
  const hash = oneOf({ 'encrypt.hash-alg': 'sha256', ...settings }, 'encrypt.hash-alg', hashes);
  const time = settings['encrypt.iter-time'] ?? '500';
  const ms = /^\d{1,6}$/.test(time) ? Number(time) : 0;
  if (ms < 1 || ms > ITERATION_MS_MAX) {
    throw usage(
      `encrypt.iter-time cannot be "${time}"; give milliseconds, 1 to ${ITERATION_MS_MAX}`,
    );
  }
  // XTS takes two keys.
  const keyBytes = cipher === 'aes-128' ? 32 : 64;
  return { keyBytes, hash, iterations: ms * ITERATIONS_PER_MS };
}

function checkVersion(wish: CreateSettings): void {
  if (wish.version === 3) return;
  const needs = (what: string) => usage(`${what} needs compat=1.1; leave out compat=0.10`);
  if (wish.refcountBits !== 16) throw needs(`refcount_bits=${wish.refcountBits}`);
  if (wish.isExtended) throw needs('extended_l2=on');
  if (wish.isLazy) throw needs('lazy_refcounts=on');
  if (wish.compression !== 'zlib') throw needs(`compression_type=${wish.compression}`);
  if (wish.dataFile !== undefined) throw needs('data_file');
}

function checkTogether(
  wish: CreateSettings,
  { backing, passphrase, sizeBytes }: PlanOptions,
): void {
  if (wish.isExtended && wish.clusterBytes < 2 ** CLUSTER_BITS_MIN_EXTENDED) {
    throw usage('extended_l2=on needs a cluster_size of 16KiB at least; use larger clusters');
  }
  if (wish.isDataFileRaw && wish.dataFile === undefined) {
    throw usage('data_file_raw=on needs data_file; name one');
  }
  if (wish.isDataFileRaw && backing !== undefined) {
    throw usage('a raw data file holds the whole disk, so there is no backing file; drop one');
  }
  if (wish.dataFile !== undefined && wish.luks !== undefined) {
    throw usage('an enciphered image has no data file here; leave out data_file');
  }
  if (backing !== undefined && backing.formatName === undefined) {
    throw usage(`the format of the backing file "${backing.name}" is not given; say which it is`);
  }
  if (backing !== undefined && wish.preallocation !== 'off' && !wish.isExtended) {
    throw usage(
      'space set aside would hide the backing file; use preallocation=off or extended_l2=on',
    );
  }
  if (wish.luks !== undefined && passphrase === undefined) {
    throw usage(`encrypt.format=luks needs a passphrase; ${PASSPHRASE_ADVICE}`);
  }
  if (wish.luks === undefined && passphrase !== undefined) {
    throw usage(
      'the passphrase is of no use without encrypt.format=luks; add that, or leave it out',
    );
  }
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) {
    throw usage(`a disk cannot have ${sizeBytes} bytes; give a whole number from 0 on`);
  }
}

function oneOf<T extends string>(settings: Settings, name: string, allowed: readonly T[]): T {
  const value = settings[name];
  const found = value === undefined ? allowed[0] : allowed.find((each) => each === value);
  if (found !== undefined) return found;
  throw usage(`${name} cannot be "${value}"; it is one of ${allowed.join(', ')}`);
}

function isOn(settings: Settings, name: string): boolean {
  return oneOf(settings, name, ['off', 'on']) === 'on';
}

function powerOfTwo(
  settings: Settings,
  name: string,
  usual: number,
  [least, most]: readonly [number, number],
): number {
  const text = settings[name];
  if (text === undefined) return usual;
  const value = /^\d/.test(text) ? parseSize(text) : 0;
  if (value >= least && value <= most && Number.isInteger(Math.log2(value))) return value;
  throw usage(`${name} cannot be "${text}"; it is a power of two from ${least} to ${most}`);
}

function usage(message: string): TmemError {
  return new TmemError('usage', message);
}
