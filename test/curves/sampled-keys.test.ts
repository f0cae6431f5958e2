import { expect, test } from 'vitest';
import { SampledKeys } from '../../src/curves/sampled-keys.ts';
import { fc } from '../tools/seed.ts';

test('SampledKeys behaves as a map whose largest key can be dropped', () => {
  const hashes = fc.array(fc.oneof(fc.integer({ min: 0, max: 200 }), fc.constant(-1)), {
    maxLength: 300,
  });
  fc.assert(
    fc.property(hashes, (events) => {
      const keys = new SampledKeys(16);
      const model = new Map<number, number>();
      const dropLargest = () => {
        const largest = Math.max(...model.keys());
        expect(keys.largest).toBe(largest);
        expect(keys.dropLargest()).toBe(model.get(largest));
        model.delete(largest);
      };
      for (const event of events) {
        const hash = (event * 0x9e3779b1) >>> 0;
        if (event < 0) {
          if (model.size > 0) dropLargest();
          continue;
        }
        expect(keys.find(hash)).toBe(model.get(hash) ?? -1);
        if (model.has(hash)) continue;
        expect(keys.isFull).toBe(model.size === 16);
        if (keys.isFull) dropLargest();
        const slot = keys.add(hash);
        expect([...model.values()]).not.toContain(slot);
        model.set(hash, slot);
        expect(keys.count).toBe(model.size);
      }
      for (const [hash, slot] of model) expect(keys.find(hash)).toBe(slot);
    }),
    { numRuns: 300 },
  );
});
