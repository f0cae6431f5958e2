/**
 * tmem as a library: transcendent memory for any program. A stack of layers holds pages in memory,
 * compressed and uncompressed; pools divide it among clients; put, get and flush do the rest.
 */

import { CODEC_CHOICES, type CodecChoice, loadCodec } from './layers/codec.ts';
import { HOT_FRACTION_DEFAULT } from './layers/hot-bytes.ts';
import { TmemError } from './lib/errors.ts';
import { PAGE_BYTES_MAX } from './lib/page-bytes.ts';
import { DEFAULT_POLICY, type PolicyName } from './policy/policies.ts';
import { createStack } from './service/stack.ts';
import { checkPageBytes, type Tmem } from './tmem/tmem.ts';

export { type ErrorKind, TmemError } from './lib/errors.ts';
export type { Account, AccountOptions, AccountShare } from './tmem/account.ts';
export {
  createEncodedPage,
  type EncodedPage,
  type Encoding,
  FILLED,
  type GetOutcome,
  HIT,
  HIT_ZERO,
  isRefused,
  type Layer,
  type LayerStatistics,
  type LayerUsage,
  LZ4,
  MISS,
  PUT_OUTCOME_NAMES,
  type PutOutcome,
  RAW,
  REPLACED,
  STORED,
} from './tmem/layer.ts';
export type { Pool } from './tmem/pool.ts';
export type { PoolOptions, Tmem } from './tmem/tmem.ts';

/** What a stack is made of. */
export interface TmemOptions {
  /** Bytes that all pages and their metadata may take together; hard. 4 MiB to 128 GiB. */
  readonly memoryBytes: number;
  /** The share of it for uncompressed pages, 0 to 1. Default 0.25. */
  readonly hotFraction?: number;
  /** The largest page of any pool, bytes; a power of two, 4096 to 65536. Default 65536. */
  readonly pageBytesMax?: number;
  /** The eviction policy. Default `s3fifo-cw`. */
  readonly policy?: PolicyName;
  /** The codec. Default `auto`: the fastest that is installed. */
  readonly codec?: CodecChoice;
}

const MEMORY_BYTES_MIN = 4 * 1024 * 1024;

/** Makes a stack with no pools. Throws a TmemError of kind `usage` for bad options. */
export function createTmem(options: TmemOptions): Tmem {
  if (typeof options !== 'object' || options === null) {
    throw new TmemError('usage', 'a stack is made of options; give it at least { memoryBytes }');
  }
  const {
    memoryBytes,
    hotFraction = HOT_FRACTION_DEFAULT,
    pageBytesMax = PAGE_BYTES_MAX,
  } = options;
  const { codec = 'auto' } = options;
  checkPageBytes(pageBytesMax);
  if (!(Number.isSafeInteger(memoryBytes) && memoryBytes >= MEMORY_BYTES_MIN)) {
    throw new TmemError(
      'usage',
      `a stack needs at least ${MEMORY_BYTES_MIN} bytes of memory, not ${memoryBytes}`,
    );
  }
  if (!(typeof hotFraction === 'number' && hotFraction >= 0 && hotFraction <= 1)) {
    throw new TmemError('usage', `the hot share is a fraction from 0 to 1, not ${hotFraction}`);
  }
  if (!CODEC_CHOICES.includes(codec)) {
    throw new TmemError(
      'usage',
      `there is no codec "${codec}"; choose one of ${CODEC_CHOICES.join(', ')}`,
    );
  }
  return createStack({
    memoryBytes,
    hotFraction,
    pageBytesMax,
    policyName: options.policy ?? DEFAULT_POLICY,
    codec: loadCodec(codec),
  }).tmem;
}
