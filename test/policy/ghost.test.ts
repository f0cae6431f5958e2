import { describe, expect, it } from 'vitest';
import { GhostTable } from '../../src/policy/parts/ghost.ts';

function ghostOf(entries: number, maxEntries = entries): GhostTable {
  const ghost = new GhostTable(maxEntries);
  ghost.setEntries(entries);
  return ghost;
}

describe('the ghost table', () => {
  it('knows a page that left, once', () => {
    const ghost = ghostOf(1000);
    expect(ghost.take(42)).toBe(false);
    ghost.add(42);
    expect(ghost.take(42)).toBe(true);
    expect(ghost.take(42)).toBe(false);
  });

  it('forgets a page after as many departures as it has entries', () => {
    const knownAfter = (departures: number) => {
      // Room for ten times the entries: no set overflows, so only time makes it forget.
      const ghost = ghostOf(1000, 10_000);
      ghost.setEntries(10_000);
      ghost.add(7);
      ghost.setEntries(1000);
      for (let i = 1; i <= departures; i++) ghost.add(1000 + i);
      return ghost.take(7);
    };
    expect(knownAfter(999)).toBe(true);
    expect(knownAfter(1000)).toBe(false);
  });

  it('remembers nine in ten of its nominal entries, for hashes in sequence as well', () => {
    const entries = 100_000;
    const ghost = ghostOf(entries);
    for (let hash = 0; hash < 3 * entries; hash++) ghost.add(hash);
    let known = 0;
    for (let hash = 2 * entries; hash < 3 * entries; hash++) if (ghost.take(hash)) known++;
    expect(known).toBeGreaterThan(0.9 * entries);
  });

  it('mistakes fewer than one in a thousand strangers for a ghost', () => {
    const entries = 100_000;
    const ghost = ghostOf(entries);
    for (let hash = 0; hash < 2 * entries; hash++) ghost.add(hash);
    let mistaken = 0;
    for (let hash = 0; hash < entries; hash++) if (ghost.take(0x8000_0000 + hash)) mistaken++;
    expect(mistaken).toBeLessThan(0.001 * entries);
  });

  it('keeps time over more departures than its clock can tell apart', () => {
    const ghost = ghostOf(16);
    for (let hash = 0; hash < 3 * 65_536; hash++) ghost.add(hash);
    expect(ghost.take(3 * 65_536 - 1)).toBe(true);
    expect(ghost.take(2 * 65_536 - 1)).toBe(false);
  });

  it('takes no memory before the first departure and five bytes an entry after', () => {
    const ghost = ghostOf(10_000, 1_000_000);
    expect(ghost.metadataBytes).toBe(0);
    ghost.add(1);
    expect(ghost.metadataBytes).toBeLessThanOrEqual(5 * 10_000 + 32);
    expect(ghost.metadataBytes).toBeGreaterThan(4 * 10_000);
  });

  it('remembers nothing when it has no entries', () => {
    const ghost = ghostOf(0, 1000);
    ghost.add(1);
    expect(ghost.take(1)).toBe(false);
  });
});
