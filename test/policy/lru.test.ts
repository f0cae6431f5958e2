import { expect, it } from 'vitest';
import { LruFamily } from '../../src/policy/lru.ts';
import { fc } from '../tools/seed.ts';
import { UnitCache } from './simulate.ts';

it('lru holds exactly the most recently used keys, whatever the stream', () => {
  const streams = fc.array(fc.nat({ max: 30 }), { maxLength: 200 });
  fc.assert(
    fc.property(streams, fc.integer({ min: 1, max: 20 }), (keys, capacity) => {
      const cache = new UnitCache((options) => new LruFamily(options).create(), capacity);
      let recent: number[] = [];
      for (const key of keys) {
        expect(cache.request(key)).toBe(recent.includes(key));
        recent = [key, ...recent.filter((other) => other !== key)].slice(0, capacity);
      }
      expect(recent.every((key) => cache.has(key))).toBe(true);
    }),
  );
});
