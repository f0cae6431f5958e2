import { expect, it } from 'vitest';
import { ExactGhost } from '../../src/policy/parts/exact-ghost.ts';
import { GhostQueues } from '../../src/policy/parts/ghost-queues.ts';
import { fc } from '../tools/seed.ts';
import { ExactGhost as ReferenceGhost } from './simulate.ts';

const KEYS = 5000;
const keys = fc.nat({ max: KEYS - 1 });

it('an exact ghost knows what a set in order of departure knows', () => {
  const events = fc.array(fc.record({ leaves: keys, comes: keys }), {
    maxLength: 8000,
  });
  fc.assert(
    fc.property(events, fc.integer({ min: 0, max: 3000 }), (pairs, entries) => {
      const ghost = new ExactGhost(KEYS);
      const reference = new ReferenceGhost();
      ghost.setEntries(entries);
      reference.setEntries(entries);
      for (const { leaves, comes } of pairs) {
        // A page that leaves has no ghost: it was taken when the page came.
        reference.take(leaves);
        ghost.take(leaves);
        reference.add(leaves);
        ghost.add(leaves);
        expect(ghost.take(comes)).toBe(reference.take(comes));
      }
    }),
    { numRuns: 20 },
  );
});

it.each([
  ['dense keys', KEYS, (key: number) => key],
  ['hashes', undefined, (key: number) => Math.imul(key, 0x9e3779b1) >>> 0],
  ['hashes that meet in one place', undefined, (key: number) => key % 100],
])('ghost queues of %s agree with lists', (_, keyCount, keyOf) => {
  const event = fc.record({
    do: fc.constantFrom('add', 'add', 'take', 'dropOldest'),
    key: fc.oneof(keys, fc.nat({ max: 40 })),
    queue: fc.nat({ max: 1 }),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 1000 }), (events) => {
      const queues = new GhostQueues({ queueCount: 2, keyCount, hasStamps: true });
      const lists: number[][] = [[], []];
      const stamps = new Map<number, number>();
      const queueOf = (key: number) => lists.findIndex((list) => list.includes(key));
      const without = (key: number) => {
        for (const [i, list] of lists.entries()) lists[i] = list.filter((other) => other !== key);
      };
      for (const [i, { do: action, key: name, queue }] of events.entries()) {
        const key = keyOf(name);
        expect(queues.queueOf(key)).toBe(queueOf(key));
        if (action === 'add') {
          without(key);
          lists[queue]?.push(key);
          queues.add(queue, key, i);
          stamps.set(key, i);
        } else if (action === 'take') {
          expect(queues.take(key)).toBe(queueOf(key));
          without(key);
        } else if ((lists[queue]?.length ?? 0) > 0) {
          lists[queue]?.shift();
          queues.dropOldest(queue);
        }
        expect([...queues.counts]).toEqual(lists.map((list) => list.length));
        for (const [each, [oldest]] of lists.entries()) {
          if (oldest !== undefined) expect(queues.oldestStamp(each)).toBe(stamps.get(oldest));
        }
      }
      queues.release();
      expect([queues.metadataBytes, queues.queueOf(keyOf(1))]).toEqual([0, -1]);
    }),
    { numRuns: 50 },
  );
});

it.each([
  [{ queueCount: 1 }, 28],
  [{ queueCount: 2 }, 30],
  [{ queueCount: 1, hasStamps: true }, 34],
])('ghost queues of hashes with %o take at most %i bytes a ghost', (options, bytesMax) => {
  const queues = new GhostQueues({ ...options, keyCount: undefined });
  for (let key = 0; key < 100_000; key++) {
    queues.add(0, Math.imul(key, 0x9e3779b1) >>> 0);
    if (key >= 1000) expect(queues.metadataBytes / (key + 1)).toBeLessThan(bytesMax);
  }
});
