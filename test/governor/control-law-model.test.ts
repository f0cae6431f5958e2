import { expect, test } from 'vitest';
import { ControlLaw, type LawInput } from '../../src/governor/control-law.ts';
import { type Pressure, pressureOf } from '../../src/governor/pressure.ts';
import { fc } from '../tools/seed.ts';
import { GIB, MIB, readings, stalls } from './scripted.ts';

const bytes = fc.integer({ min: -4 * GIB, max: 4 * GIB });
const amount = fc.integer({ min: 0, max: 4 * GIB });
const pressure: fc.Arbitrary<Pressure> = fc.record({
  stallShare: fc.double({ min: 0, max: 1, noNaN: true }),
  isQuiet: fc.boolean(),
  hasStalls: fc.boolean(),
  groupDeficitBytes: fc.oneof(fc.constant(0), amount),
  machineDeficitBytes: fc.oneof(fc.constant(0), amount),
  groupSpareBytes: fc.oneof(fc.constant(Number.POSITIVE_INFINITY), bytes),
  machineSpareBytes: fc.oneof(fc.constant(Number.POSITIVE_INFINITY), bytes),
  isSevere: fc.boolean(),
});
const input = fc.record({
  usedBytes: amount,
  pressure,
  lagMs: fc.double({ min: 0, max: 200, noNaN: true }),
  elapsedMs: fc.oneof(fc.integer({ min: 0, max: 5000 }), fc.constantFrom(-1, 1e12, Number.NaN)),
});

/** A law over a machine of which it uses what it may at once, and everything else a part. */
function closedLoop(configuredBytes: number, roomBytes: number, stallsAbove: number) {
  const law = new ControlLaw(configuredBytes);
  let usedBytes = configuredBytes;
  let totalMs = 0;
  let before = readings({ machineStalls: stalls(0) });
  return (): number => {
    if (usedBytes > stallsAbove) totalMs += 50;
    const now = readings({
      machineStalls: stalls(totalMs),
      groupRooms: [{ limitBytes: 2 * GIB, freeBytes: roomBytes - usedBytes }],
    });
    const state = pressureOf(now, before, 1000);
    before = now;
    usedBytes = law.next({ usedBytes, pressure: state, lagMs: 0, elapsedMs: 1000 }).targetBytes;
    return usedBytes;
  };
}

test('the target is a whole number within its bounds, whatever comes', () => {
  const change = fc.record({ configured: amount, floor: amount });
  type Change = LawInput | { configured: number; floor: number };
  const changes: fc.Arbitrary<Change[]> = fc.array(fc.oneof(input, change));
  const check = (configured: number, floor: number, inputs: readonly Change[]): void => {
    const law = new ControlLaw(configured, floor);
    for (const each of inputs) {
      if ('configured' in each) {
        law.setConfigured(each.configured);
        law.setFloor(each.floor);
      } else {
        law.next(each);
      }
      expect(Number.isSafeInteger(law.targetBytes)).toBe(true);
      expect(law.targetBytes).toBeLessThanOrEqual(law.configuredBytes);
      expect(law.targetBytes).toBeGreaterThanOrEqual(law.floorBytes);
    }
  };
  fc.assert(fc.property(amount, amount, changes, check), { numRuns: 500 });
});

test('under constant readings the target comes to rest, in one direction', () => {
  const check = (constant: LawInput, cut: boolean): void => {
    const law = new ControlLaw(GIB);
    if (cut) law.next({ ...constant, pressure: { ...constant.pressure, stallShare: 1 } });
    const targets: number[] = [];
    for (let i = 0; i < 400; i++)
      targets.push(law.next({ ...constant, elapsedMs: 1000 }).targetBytes);
    const steps = targets.slice(1).map((target, i) => Math.sign(target - (targets[i] ?? 0)));
    expect(steps.includes(1) && steps.includes(-1)).toBe(false);
    expect(steps.slice(-100).every((step) => step === 0)).toBe(true);
  };
  fc.assert(fc.property(input, fc.boolean(), check), { numRuns: 300 });
});

test('a limit of a group is approached to its reserve and then left alone', () => {
  const room = fc.integer({ min: 300, max: 2000 }).map((mebibytes) => mebibytes * MIB);
  const check = (roomBytes: number): void => {
    const step = closedLoop(2 * GIB, roomBytes, Number.POSITIVE_INFINITY);
    const targets = Array.from({ length: 300 }, step).slice(20);
    const free = targets.map((target) => roomBytes - target);
    // A sixteenth of 2 GiB is the reserve.
    expect(Math.min(...free)).toBeGreaterThanOrEqual(128 * MIB - 1);
    expect(Math.max(...free)).toBeLessThanOrEqual(256 * MIB + (2 * GIB) / 64);
    expect(new Set(targets).size).toBe(1);
  };
  fc.assert(fc.property(room, check), { numRuns: 100 });
});

test('an unknown edge where stalls begin is tried ever less often, up to once in 160 s', () => {
  const edge = 700 * MIB;
  const step = closedLoop(GIB, 64 * GIB, edge);
  const targets = Array.from({ length: 4000 }, step);
  const late = targets.slice(1500);
  expect(Math.min(...late)).toBeGreaterThan(edge * 0.9);
  const excursions = late.filter((target, i) => target > edge && (late[i - 1] ?? edge + 1) <= edge);
  expect(excursions.length).toBeGreaterThan(0);
  expect(excursions.length).toBeLessThanOrEqual(2500 / 160 + 1);
});

test('pressure that comes and goes moves the target within its bounds, and never past half', () => {
  const periods = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 2, maxLength: 30 });
  const check = (lengths: readonly number[], share: number): void => {
    const law = new ControlLaw(GIB);
    const calm = pressureOf(readings({ machineStalls: stalls(0) }), undefined, 0);
    for (const [i, length] of lengths.entries()) {
      const isCalm = i % 2 === 0;
      const state = isCalm ? calm : { ...calm, stallShare: share, isQuiet: false };
      for (let tick = 0; tick < length; tick++) {
        const before = law.targetBytes;
        law.next({ usedBytes: before, pressure: state, lagMs: 0, elapsedMs: 1000 });
        const change = law.targetBytes - before;
        if (isCalm) expect(change).toBeGreaterThanOrEqual(0);
        else expect(change).toBeLessThanOrEqual(0);
        expect(change).toBeLessThanOrEqual(GIB / 64);
        expect(law.targetBytes).toBeGreaterThanOrEqual(Math.max(before / 2, law.floorBytes));
      }
    }
  };
  const share = fc.double({ min: 0.02, max: 1, noNaN: true });
  fc.assert(fc.property(periods, share, check), { numRuns: 200 });
});
