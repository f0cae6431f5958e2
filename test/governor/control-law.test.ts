import { describe, expect, test } from 'vitest';
import { ControlLaw, type Decision } from '../../src/governor/control-law.ts';
import type { Pressure } from '../../src/governor/pressure.ts';
import { GIB, MIB } from './scripted.ts';

const NONE: Pressure = {
  stallShare: 0,
  isQuiet: true,
  hasStalls: true,
  groupDeficitBytes: 0,
  machineDeficitBytes: 0,
  groupSpareBytes: Number.POSITIVE_INFINITY,
  machineSpareBytes: Number.POSITIVE_INFINITY,
  isSevere: false,
};

const stalled = (stallShare: number): Partial<Pressure> => ({ stallShare, isQuiet: false });

/** One tick of a law whose layers hold all they may, a second later. */
function tick(law: ControlLaw, given: Partial<Pressure> = {}, lagMs = 0): Decision {
  const usedBytes = law.targetBytes;
  return law.next({ usedBytes, pressure: { ...NONE, ...given }, lagMs, elapsedMs: 1000 });
}

function ticks(count: number, law: ControlLaw, given: Partial<Pressure> = {}): void {
  for (let i = 0; i < count; i++) tick(law, given);
}

describe('down', () => {
  test('stalls take their share, at least a twentieth and at most half', () => {
    for (const [share, left] of [
      [0.02, 0.95],
      [0.3, 0.7],
      [1, 0.5],
    ] as const) {
      const decision = tick(new ControlLaw(GIB), stalled(share));
      expect(decision.reason).toBe('psi');
      expect(decision.targetBytes).toBeCloseTo(GIB * left, -1);
    }
    expect(tick(new ControlLaw(GIB), stalled(0.019)).targetBytes).toBe(GIB);
  });

  test('a missing reserve takes what is missing, of what is used rather than what is allowed', () => {
    const law = new ControlLaw(GIB);
    const pressure = { ...NONE, groupDeficitBytes: 100 * MIB, machineDeficitBytes: 10 * MIB };
    const input = { usedBytes: 600 * MIB, pressure, lagMs: 0, elapsedMs: 1000 };
    expect(law.next(input)).toEqual({
      targetBytes: 500 * MIB,
      reason: 'cgroup',
      isPressed: true,
    });
    const stallInput = { ...input, pressure: { ...NONE, ...stalled(0.1) } };
    expect(new ControlLaw(GIB).next(stallInput).targetBytes).toBe(540 * MIB);
    const machine = tick(new ControlLaw(GIB), { machineDeficitBytes: 24 * MIB });
    expect(machine).toMatchObject({ targetBytes: 1000 * MIB, reason: 'machine' });
  });

  test('the worst of several reasons counts', () => {
    const decision = tick(new ControlLaw(GIB), { ...stalled(0.5), groupDeficitBytes: MIB });
    expect(decision).toMatchObject({ targetBytes: GIB / 2, reason: 'psi' });
    const deficits = { groupDeficitBytes: 100 * MIB, machineDeficitBytes: 200 * MIB };
    expect(tick(new ControlLaw(GIB), { ...stalled(0.05), ...deficits })).toMatchObject({
      targetBytes: 824 * MIB,
      reason: 'machine',
    });
  });

  test('no more than half is taken at once, whatever is missing', () => {
    const law = new ControlLaw(GIB);
    const missing = { machineDeficitBytes: 100 * GIB };
    expect(tick(law, missing).targetBytes).toBe(GIB / 2);
    ticks(1, law, missing);
    expect(tick(law, missing).targetBytes).toBe(GIB / 4);
  });

  test('a cut shows its effect for 2 s before the next; in severe times for half a second', () => {
    const law = new ControlLaw(GIB);
    const targets = [0.1, 0.1, 0.1, 0.1].map((share) => tick(law, stalled(share)).targetBytes);
    expect(new Set(targets).size).toBe(2);
    expect(targets[1]).toBe(targets[0]);
    expect(targets[2]).toBeLessThan(targets[1] ?? 0);
    const severe = { ...stalled(0.1), isSevere: true };
    expect(tick(law, severe).targetBytes).toBeLessThan(targets[3] ?? 0);
    const before = law.targetBytes;
    const soon = { usedBytes: before, pressure: { ...NONE, ...severe }, lagMs: 0, elapsedMs: 250 };
    expect(law.next(soon).targetBytes).toBe(before);
    expect(law.next(soon).targetBytes).toBeLessThan(before);
  });

  test('no more is cut while the last cut is under way, unless it is severe', () => {
    const law = new ControlLaw(GIB);
    ticks(1, law, stalled(0.1));
    const target = law.targetBytes;
    const input = { usedBytes: target + 1, lagMs: 0, elapsedMs: 2000 };
    const pressure = { ...NONE, ...stalled(0.1) };
    expect(law.next({ ...input, pressure }).targetBytes).toBe(target);
    expect(law.next({ ...input, pressure: { ...pressure, isSevere: true } }).targetBytes).toBe(
      Math.floor(target * 0.9),
    );
  });

  test('what is held above the target, and can not go, neither raises it nor spares it', () => {
    const law = new ControlLaw(GIB);
    law.setConfigured(GIB / 4); // while pages that must be written hold a gibibyte
    const input = { usedBytes: GIB, lagMs: 0, elapsedMs: 2000 };
    const missing = { ...NONE, groupDeficitBytes: 10 * MIB, isSevere: true };
    expect(law.next({ ...input, pressure: missing }).targetBytes).toBe(GIB / 4);
    const severe = { ...NONE, ...stalled(0.5), isSevere: true };
    expect(law.next({ ...input, pressure: severe }).targetBytes).toBe(GIB / 8);
  });

  test('from 8 GiB to the floor takes less than 10 s of severe stalls', () => {
    const law = new ControlLaw(8 * GIB);
    ticks(10, law, { ...stalled(1), isSevere: true });
    expect(law.targetBytes).toBe(GIB / 2);
  });

  test('the floor is 32 MiB, a sixteenth or what is guaranteed, within the configured limit', () => {
    const lowest = (configured: number, guaranteed = 0): number => {
      const law = new ControlLaw(configured, guaranteed);
      ticks(50, law, { groupDeficitBytes: GIB });
      return law.targetBytes;
    };
    expect(lowest(64 * MIB)).toBe(32 * MIB);
    expect(lowest(16 * MIB)).toBe(16 * MIB);
    expect(lowest(GIB)).toBe(64 * MIB);
    expect(lowest(GIB, 700 * MIB)).toBe(700 * MIB);
    expect(lowest(GIB, 2 * GIB)).toBe(GIB);
  });
});

describe('up', () => {
  test('comes after 10 s of calm, by a 64th a second', () => {
    const law = new ControlLaw(GIB);
    ticks(1, law, stalled(0.5));
    ticks(9, law);
    expect(law.targetBytes).toBe(GIB / 2);
    ticks(1, law);
    expect(law.targetBytes).toBe(GIB / 2 + GIB / 64);
    ticks(31, law);
    expect(law.targetBytes).toBe(GIB);
    expect(tick(law)).toEqual({ targetBytes: GIB, reason: 'calm', isPressed: false });
  });

  test('does not come while stalls linger or the loop is late, and says why', () => {
    const law = new ControlLaw(GIB);
    ticks(1, law, stalled(0.5));
    ticks(20, law, { isQuiet: false });
    expect(tick(law, { isQuiet: false })).toEqual({
      targetBytes: GIB / 2,
      reason: 'psi',
      isPressed: false,
    });
    for (let i = 0; i < 20; i++) tick(law, {}, 50);
    expect(tick(law, {}, 50)).toMatchObject({ targetBytes: GIB / 2, reason: 'lag' });
    ticks(9, law);
    expect(law.targetBytes).toBe(GIB / 2);
  });

  test('goes no further than there is room, what is promised already included', () => {
    const law = new ControlLaw(GIB);
    ticks(1, law, stalled(0.5));
    const given = { machineSpareBytes: 8 * MIB };
    ticks(9, law, given);
    const pressure = { ...NONE, ...given };
    const input = { usedBytes: GIB / 2 - 5 * MIB, pressure, lagMs: 0, elapsedMs: 1000 };
    expect(law.next(input)).toMatchObject({ targetBytes: GIB / 2, reason: 'machine' });
    expect(tick(law, given).targetBytes).toBe(GIB / 2 + 8 * MIB);
    expect(tick(law, { groupSpareBytes: 0 }).reason).toBe('cgroup');
    // What is held beyond the target is no room.
    const above = { ...input, usedBytes: GIB };
    expect(law.next(above).targetBytes).toBe(GIB / 2 + 16 * MIB);
  });

  test('waits until there is room for a quarter of a step, or for all that is missing', () => {
    const law = new ControlLaw(GIB);
    ticks(1, law, stalled(0.5));
    ticks(9, law);
    expect(tick(law, { machineSpareBytes: 4 * MIB - 1 }).targetBytes).toBe(GIB / 2);
    ticks(1, law, { machineSpareBytes: 4 * MIB });
    expect(law.targetBytes).toBe(GIB / 2 + 4 * MIB);
    ticks(31, law);
    expect(GIB - law.targetBytes).toBe(12 * MIB);
    ticks(1, law, { machineSpareBytes: 10 * MIB });
    ticks(1, law, { machineSpareBytes: 2 * MIB });
    expect(law.targetBytes).toBe(GIB);
  });

  /** Lowers the target, and counts the seconds of calm until it grows. */
  function waitAfterCut(law: ControlLaw): number {
    ticks(3, law, stalled(0.5));
    const before = law.targetBytes;
    let waited = 0;
    while (law.targetBytes === before && waited < 1000) {
      ticks(1, law);
      waited++;
    }
    return waited;
  }

  test('waits twice as long after every growth that had to be taken back, up to 160 s', () => {
    const law = new ControlLaw(GIB);
    const waits = Array.from({ length: 7 }, () => waitAfterCut(law));
    expect(waits).toEqual([10, 20, 40, 80, 160, 160, 160]);
    ticks(64 + 150, law);
    expect(law.targetBytes).toBe(GIB);
    expect(waitAfterCut(law)).toBe(160);
    ticks(64 + 100, law);
    ticks(170, law, { isQuiet: false });
    expect(waitAfterCut(law)).toBe(160);
    ticks(64 + 170, law);
    expect(waitAfterCut(law)).toBe(10);
  });

  test('comes once a second at most, however often it is looked', () => {
    const law = new ControlLaw(GIB);
    ticks(1, law, stalled(0.5));
    ticks(10, law);
    const before = law.targetBytes;
    for (let i = 0; i < 8; i++) {
      law.next({ usedBytes: before, pressure: NONE, lagMs: 0, elapsedMs: 250 });
    }
    expect(law.targetBytes).toBe(before + 2 * (GIB / 64));
  });

  test('a time asleep counts as no more than 2 s of calm', () => {
    const law = new ControlLaw(GIB);
    ticks(1, law, stalled(0.5));
    const asleep = { usedBytes: GIB / 2, pressure: NONE, lagMs: 0, elapsedMs: 3_600_000 };
    for (let i = 0; i < 4; i++) expect(law.next(asleep).targetBytes).toBe(GIB / 2);
    expect(law.next(asleep).targetBytes).toBeGreaterThan(GIB / 2);
  });
});

describe('without stall information', () => {
  const blind = { hasStalls: false };

  test('a late loop lowers the target where memory is short, and only there', () => {
    const law = new ControlLaw(GIB);
    expect(tick(law, { ...blind, machineSpareBytes: -1 }, 50).reason).toBe('lag');
    expect(law.targetBytes).toBe(Math.floor(GIB * 0.95));
    for (const given of [blind, { ...blind, machineSpareBytes: 0 }, { machineSpareBytes: -1 }]) {
      expect(tick(new ControlLaw(GIB), given, 500).targetBytes).toBe(GIB);
    }
    expect(tick(new ControlLaw(GIB), { ...blind, groupSpareBytes: -1 }, 49).targetBytes).toBe(GIB);
    expect(tick(new ControlLaw(GIB), { ...blind, groupSpareBytes: -1 }, 50).reason).toBe('lag');
  });
});

describe('the configured limit', () => {
  test('moves the target at once, up as well as down, where nothing had lowered it', () => {
    const law = new ControlLaw(GIB);
    law.setConfigured(GIB / 2);
    expect(law.targetBytes).toBe(GIB / 2);
    law.setConfigured(2 * GIB);
    expect(law.targetBytes).toBe(2 * GIB);
  });

  test('raised under pressure is grown to; lowered it still holds at once', () => {
    const law = new ControlLaw(GIB);
    ticks(1, law, stalled(0.5));
    law.setConfigured(2 * GIB);
    expect(law.targetBytes).toBe(GIB / 2);
    law.setConfigured(GIB / 4);
    expect(law.targetBytes).toBe(GIB / 4);
  });

  test('raised raises the floor, and with it a target that lies on it', () => {
    const law = new ControlLaw(GIB);
    ticks(50, law, { groupDeficitBytes: GIB });
    law.setConfigured(4 * GIB);
    expect(law.targetBytes).toBe(GIB / 4);
  });

  test('what is guaranteed lifts the target at once', () => {
    const law = new ControlLaw(GIB);
    ticks(1, law, stalled(0.5));
    law.setFloor(600 * MIB);
    expect(law.targetBytes).toBe(600 * MIB);
    expect(law.floorBytes).toBe(600 * MIB);
    law.setFloor(0);
    expect(law.targetBytes).toBe(600 * MIB); // what holds it is the pressure, from now on
  });

  test('is never exceeded for what is guaranteed', () => {
    const law = new ControlLaw(GIB, 700 * MIB);
    law.setConfigured(500 * MIB);
    expect([law.targetBytes, law.floorBytes]).toEqual([500 * MIB, 500 * MIB]);
  });
});
