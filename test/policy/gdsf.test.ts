import { expect, it } from 'vitest';
import { gdsfFamily } from '../../src/policy/gdsf.ts';
import { fc } from '../tools/seed.ts';

const SLOTS = 30;

it('gdsf evicts the lowest of age plus uses for each byte', () => {
  const events = fc.array(fc.tuple(fc.nat({ max: SLOTS - 1 }), fc.nat({ max: 9 })), {
    maxLength: 500,
  });
  const charges = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: SLOTS, maxLength: SLOTS });
  fc.assert(
    fc.property(events, charges, (pairs, chargeOf) => {
      const options = { slotCount: SLOTS, capacityBytes: 1000, hashOf: () => 0 };
      const policy = gdsfFamily(options).create();
      const pages = new Map<number, { uses: number; priority: number }>();
      let age = 0;
      for (const [slot, action] of pairs) {
        const page = pages.get(slot);
        const charge = 1000 * (chargeOf[slot] ?? 1);
        if (action === 0) {
          const victim = policy.evict();
          const lowest = Math.min(...[...pages.values()].map(({ priority }) => priority));
          if (pages.size === 0) expect(victim).toBe(-1);
          else expect(pages.get(victim)?.priority).toBe(lowest);
          if (pages.delete(victim)) age = lowest;
        } else if (page === undefined) {
          policy.insert(slot, charge, 0);
          pages.set(slot, { uses: 1, priority: age + 1 / charge });
        } else if (action === 1) {
          policy.remove(slot);
          pages.delete(slot);
        } else {
          policy.touch(slot);
          page.uses++;
          page.priority = age + page.uses / charge;
        }
        expect(policy.count).toBe(pages.size);
      }
    }),
  );
});
