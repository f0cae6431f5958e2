/** The eviction policies by name, for options and for the texts that list them. */
import { TmemError } from '../lib/errors.ts';
import { LruFamily } from './lru.ts';
import type { PolicyFactory } from './policy.ts';
import { S3FifoCwFamily } from './s3fifo-cw.ts';

/** Every policy that can be asked for by name, the default first. */
export const POLICIES = {
  's3fifo-cw': (options) => new S3FifoCwFamily(options),
  lru: (options) => new LruFamily(options),
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
