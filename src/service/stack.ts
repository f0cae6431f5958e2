/** The stack of a service: hot over zcache, or zcache alone. */

import type { PageCodec } from '../layers/codec.ts';
import { Hot } from '../layers/hot.ts';
import { hotBytesOf } from '../layers/hot-bytes.ts';
import { Zcache } from '../layers/zcache.ts';
import { TmemError } from '../lib/errors.ts';
import type { ForgetMemory } from '../lib/forget-memory.ts';
import { STACK_BYTES_MAX } from '../lib/stack-bytes.ts';
import { type PolicyName, policyFactoryFor } from '../policy/policies.ts';
import type { Lender } from '../tmem/lender.ts';
import { Tmem } from '../tmem/tmem.ts';

export interface StackOptions {
  /** Bytes that all layers together may take, data and metadata. */
  readonly memoryBytes: number;
  /** The share of it for pages as they are, 0 to 1; at 0 there is no hot layer. */
  readonly hotFraction: number;
  readonly pageBytesMax: number;
  readonly policyName: PolicyName;
  readonly codec: PageCodec;
  /** Gives memory back piece by piece, if it can be had. */
  readonly forget?: ForgetMemory | undefined;
}

/** A stack, and the layer of it that can lend pages. */
export interface Stack {
  readonly tmem: Tmem;
  readonly lender: Lender | undefined;
}

/** Builds the layers and divides the memory between them. Throws `usage` for too much memory. */
export function createStack(options: StackOptions): Stack {
  const { memoryBytes, hotFraction, pageBytesMax, codec, forget } = options;
  const policy = policyFactoryFor(options.policyName);
  if (memoryBytes > STACK_BYTES_MAX) {
    throw new TmemError('usage', 'one stack takes at most 128 GiB; give it less memory');
  }
  const hotBytes = hotBytesOf(memoryBytes, hotFraction);
  const same = { pageBytesMax, policy, forget };
  const zcache = new Zcache({ ...same, limitBytes: memoryBytes - hotBytes, codec });
  if (hotBytes === 0) return { tmem: new Tmem([zcache]), lender: undefined };
  const hot = new Hot({ ...same, limitBytes: hotBytes, next: zcache });
  return { tmem: new Tmem([hot, zcache]), lender: hot };
}

/** What the governor leaves beside all that is guaranteed, to work with. */
const SPARE_BYTES = 8 * 1024 * 1024;

/** What accounts are guaranteed of a stack, all their minimums. */
export function guaranteedBytes({ accounts }: Tmem): number {
  let bytes = 0;
  for (const { minimumBytes } of accounts) bytes += minimumBytes;
  return bytes;
}

/** What the governor leaves a stack, however short memory is outside. */
export function floorBytes(tmem: Tmem): number {
  return SPARE_BYTES + guaranteedBytes(tmem);
}
