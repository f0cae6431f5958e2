import { describe, expect, it } from 'vitest';
import { WriteTurns } from '../../src/storage/write-turns.ts';
import { fc } from '../tools/seed.ts';

const DIRECT = false;
const BUFFERED = true;

describe('the turns of writes', () => {
  it('let writes of one kind go side by side', () => {
    const turns = new WriteTurns();
    let begunCount = 0;
    for (let i = 0; i < 3; i++) turns.enter(DIRECT, () => begunCount++);
    expect(begunCount).toBe(3);
  });

  it('make the other kind wait for the last of them, and let nobody overtake', () => {
    const turns = new WriteTurns();
    const begun: string[] = [];
    turns.enter(DIRECT, () => begun.push('a'));
    turns.enter(DIRECT, () => begun.push('b'));
    turns.enter(BUFFERED, () => begun.push('c'));
    turns.enter(DIRECT, () => begun.push('d'));
    turns.end();
    expect(begun).toEqual(['a', 'b']);
    turns.end();
    expect(begun).toEqual(['a', 'b', 'c']);
    turns.end();
    expect(begun).toEqual(['a', 'b', 'c', 'd']);
  });

  it('begin every write once, in order, and never two kinds together', () => {
    const steps = fc.array(fc.constantFrom('direct', 'buffered', 'end'), { maxLength: 60 });
    fc.assert(
      fc.property(steps, (plan) => {
        const turns = new WriteTurns();
        const begun: number[] = [];
        const kinds: boolean[] = [];
        const underWay: number[] = [];
        const end = () => {
          underWay.shift();
          turns.end();
          const together = new Set(underWay.map((write) => kinds[write]));
          expect(together.size).toBeLessThan(2);
        };
        for (const step of plan) {
          if (step === 'end') {
            if (underWay.length > 0) end();
            continue;
          }
          const write = kinds.push(step === 'buffered') - 1;
          turns.enter(step === 'buffered', () => {
            begun.push(write);
            underWay.push(write);
          });
          expect(new Set(underWay.map((each) => kinds[each])).size).toBeLessThan(2);
        }
        while (underWay.length > 0) end();
        expect(begun).toEqual(kinds.map((_, write) => write));
      }),
      { numRuns: 300 },
    );
  });
});
