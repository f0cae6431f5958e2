/** The eviction policies by name, for options and for the texts that list them. */
import { TmemError } from '../lib/errors.ts';
import { arcFamily } from './arc.ts';
import { clockFamily } from './clock.ts';
import { fifoFamily } from './fifo.ts';
import { lirsFamily } from './lirs.ts';
import { LruFamily } from './lru.ts';
import type { PolicyFactory } from './policy.ts';
import { s3FifoFamily } from './s3fifo.ts';
import { S3FifoCwFamily } from './s3fifo-cw.ts';
import { sieveFamily } from './sieve.ts';
import { slruFamily } from './slru.ts';
import { twoQFamily } from './two-q.ts';
import { wTinyLfuFamily } from './w-tinylfu.ts';

/**
 * Every policy of a cache that can be asked for by name, the default first. What has to know the
 * future (`belady.ts`), or costs too much a hit (`gdsf.ts`), is for simulations only.
 */
export const POLICIES = {
  's3fifo-cw': (options) => new S3FifoCwFamily(options),
  lru: (options) => new LruFamily(options),
  s3fifo: (options) => s3FifoFamily(options),
  lirs: (options) => lirsFamily(options),
  'w-tinylfu': (options) => wTinyLfuFamily(options),
  '2q': (options) => twoQFamily(options),
  arc: (options) => arcFamily(options),
  slru: (options) => slruFamily(options),
  sieve: (options) => sieveFamily(options),
  'clock-2bit': (options) => clockFamily(options, 3),
  clock: (options) => clockFamily(options),
  fifo: (options) => fifoFamily(options),
} as const satisfies Record<string, PolicyFactory>;

/** A name in `POLICIES`. */
export type PolicyName = keyof typeof POLICIES;

/** All names, the default first. */
export const POLICY_NAMES = Object.keys(POLICIES) as readonly PolicyName[];

/** The policy that scans do not harm. */
export const DEFAULT_POLICY: PolicyName = 's3fifo-cw';

/** Whether a policy of that name exists. */
export function isPolicyName(name: string): name is PolicyName {
  return Object.hasOwn(POLICIES, name);
}

/** The factory of families of that name; a usage error that lists the names if there is none. */
export function policyFactoryFor(name: string): PolicyFactory {
  if (isPolicyName(name)) return POLICIES[name];
  throw new TmemError(
    'usage',
    `there is no eviction policy "${name}"; choose one of ${POLICY_NAMES.join(', ')}`,
    { context: { policy: name } },
  );
}
