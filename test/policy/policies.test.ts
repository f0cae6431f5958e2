import { describe, expect, it } from 'vitest';
import { POLICY_NAMES as CONFIGURED_NAMES } from '../../src/config/values.ts';
import { TmemError } from '../../src/lib/errors.ts';
import {
  DEFAULT_POLICY,
  isPolicyName,
  POLICIES,
  POLICY_NAMES,
  policyFactoryFor,
} from '../../src/policy/policies.ts';

describe('the table of policies', () => {
  it('lists the default first', () => {
    expect(POLICY_NAMES[0]).toBe(DEFAULT_POLICY);
  });

  it('is what the configuration takes', () => {
    expect(CONFIGURED_NAMES).toEqual(POLICY_NAMES);
  });

  it('gives the factory of a name', () => {
    expect(policyFactoryFor('lru')).toBe(POLICIES.lru);
  });

  it.each(['mru', '', 'toString', 'LRU'])('refuses "%s" with the names to choose from', (name) => {
    expect(isPolicyName(name)).toBe(false);
    expect(() => policyFactoryFor(name)).toThrow(TmemError);
    expect(() => policyFactoryFor(name)).toThrow(POLICY_NAMES.join(', '));
  });
});
