/**
 * Policies as shadows run them: those of the live cache, without the allowances that a small cache
 * makes, since a shadow stands for a large one.
 */

import { type PolicyName, policyFactoryFor } from '../policy/policies.ts';
import type { PolicyFactory } from '../policy/policy.ts';
import { S3FifoCwFamily } from '../policy/s3fifo-cw.ts';

/** Bytes of a policy for each page that it can hold, ghosts included, at most; by its name. */
const BYTES_PER_PAGE: Readonly<Record<PolicyName, number>> = {
  's3fifo-cw': 20,
  s3fifo: 20,
  lru: 12,
  lirs: 132,
  'w-tinylfu': 32,
  '2q': 72,
  arc: 72,
  slru: 12,
  sieve: 16,
  'clock-2bit': 12,
  clock: 12,
  fifo: 12,
};

/** The factory for a shadow of the policy. */
export function shadowFactoryFor(name: PolicyName): PolicyFactory {
  if (name !== 's3fifo-cw') return policyFactoryFor(name);
  return (options) => new S3FifoCwFamily(options, { windowMinInsertions: 0, clockBelowPages: 0 });
}

/** Bytes that such a shadow's policy takes at most for `slotCount` pages. */
export function policyBytesFor(name: PolicyName, slotCount: number): number {
  return slotCount * BYTES_PER_PAGE[name];
}

/**
 * The other policy to try beside the configured one: `lirs` is best where most differ, for loops,
 * and for those who have it the default is. What `lru` would do is told by the curve.
 */
export function rivalOf(name: PolicyName): PolicyName {
  return name === 'lirs' ? 's3fifo-cw' : 'lirs';
}
