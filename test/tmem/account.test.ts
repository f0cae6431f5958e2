import { describe, expect, it } from 'vitest';
import { Account } from '../../src/tmem/account.ts';

describe('an account', () => {
  it('has a weight of 100, no cap and no minimum unless it is given others', () => {
    const account = new Account({ name: 'a' });
    expect([account.weight, account.capBytes, account.minimumBytes]).toEqual([100, Infinity, 0]);
    account.setShare({ capBytes: 5000 });
    account.setShare({ weight: 7, minimumBytes: 5000 });
    expect([account.weight, account.capBytes, account.minimumBytes]).toEqual([7, 5000, 5000]);
  });

  it.each([
    { weight: 1, capBytes: 0, minimumBytes: 0 },
    { weight: 10_000, capBytes: 1, minimumBytes: 1 },
  ])('takes %j, the ends of what may be', (share) => {
    expect(new Account({ name: 'a', ...share })).toMatchObject({ name: 'a', ...share });
  });

  it('names the value that cannot be', () => {
    expect(() => new Account({ name: 'a', capBytes: -1 })).toThrow('a cap is');
    expect(() => new Account({ name: 'a', minimumBytes: -1 })).toThrow('a minimum is');
    expect(() => new Account({ name: 'a', capBytes: 1 << 20, minimumBytes: 3 << 20 })).toThrow(
      'a minimum of 3MiB is more than the cap, 1MiB; choose less',
    );
  });

  it.each([
    { weight: 0 },
    { weight: 10_001 },
    { weight: 1.5 },
    { weight: Number.NaN },
    { capBytes: -1 },
    { capBytes: Number.NaN },
    { minimumBytes: -1 },
    { minimumBytes: 2, capBytes: 1 },
    { weight: 5, minimumBytes: Number.NaN },
  ])('refuses %j, and then is as it was', (share) => {
    const usage = expect.objectContaining({ kind: 'usage' });
    expect(() => new Account({ name: 'a', ...share })).toThrow(usage);
    const account = new Account({ name: 'a', weight: 3 });
    expect(() => account.setShare(share)).toThrow(usage);
    expect([account.weight, account.capBytes, account.minimumBytes]).toEqual([3, Infinity, 0]);
  });
});
