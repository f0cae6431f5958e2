import { expect, test } from 'vitest';
import { pressureOf } from '../../src/governor/pressure.ts';
import { GIB, MIB, readings, stalls } from './scripted.ts';

const AMPLE = { limitBytes: 16 * GIB, freeBytes: 8 * GIB };
const SHORT = { limitBytes: 16 * GIB, freeBytes: GIB };

/** Stalls of the machine that grew from nothing within a second. */
const machineGrew = (someMs: number, fullMs = 0, share10s = 0, machineRoom = AMPLE) =>
  pressureOf(
    readings({ machineStalls: stalls(someMs, fullMs, share10s), machineRoom }),
    readings({ machineStalls: stalls(0) }),
    1000,
  );

test('nothing known is no pressure, and room without end', () => {
  expect(pressureOf(readings(), undefined, 0)).toEqual({
    stallShare: 0,
    isQuiet: true,
    hasStalls: false,
    groupDeficitBytes: 0,
    machineDeficitBytes: 0,
    groupSpareBytes: Number.POSITIVE_INFINITY,
    machineSpareBytes: Number.POSITIVE_INFINITY,
    isSevere: false,
  });
});

test('stalls are the share of the time since the last reading; full ones count four times', () => {
  expect(machineGrew(30)).toMatchObject({ stallShare: 0.03, isQuiet: false, isSevere: false });
  expect(machineGrew(30, 30).stallShare).toBeCloseTo(0.12);
  expect(machineGrew(900, 300)).toMatchObject({ stallShare: 1, isSevere: true });
  expect(machineGrew(1)).toMatchObject({ stallShare: 0.001, isQuiet: true });
  expect(machineGrew(2).isQuiet).toBe(false);
});

test('the average of 10 s counts while stalls go on; afterwards it only forbids quiet', () => {
  expect(machineGrew(5, 0, 0.3).stallShare).toBe(0.3);
  expect(machineGrew(5, 0, 0.05).stallShare).toBe(0.05);
  expect(machineGrew(5, 0, 0.049).stallShare).toBe(0.005);
  expect(machineGrew(0, 0, 0.3)).toMatchObject({ stallShare: 0, isQuiet: false });
  expect(machineGrew(0, 0, 0.01).isQuiet).toBe(false);
  expect(machineGrew(0, 0, 0.009).isQuiet).toBe(true);
});

test('a group’s own stalls count, however much the machine has', () => {
  const now = { groupStalls: stalls(500, 200), machineRoom: AMPLE };
  const before = readings({ groupStalls: stalls(0) });
  for (const machineStalls of [undefined, stalls(0)]) {
    expect(pressureOf(readings({ ...now, machineStalls }), before, 1000)).toMatchObject({
      stallShare: 1,
      hasStalls: true,
      isSevere: true,
    });
  }
});

test('a group whose tasks stalled a moment ago is not quiet, whatever the machine says', () => {
  const now = readings({ groupStalls: stalls(0, 0, 0.02), machineStalls: stalls(0) });
  expect(pressureOf(now, now, 1000)).toMatchObject({ stallShare: 0, isQuiet: false });
});

test('the first reading, one too soon, and totals that fell, say nothing of stalls', () => {
  const now = readings({ machineStalls: stalls(5000) });
  expect(pressureOf(now, undefined, 1000).stallShare).toBe(0);
  expect(pressureOf(now, readings({ machineStalls: stalls(0) }), 49).stallShare).toBe(0);
  expect(pressureOf(now, readings({ machineStalls: stalls(0) }), 50).stallShare).toBe(1);
  expect(pressureOf(now, readings({ machineStalls: stalls(6000) }), 1000).stallShare).toBe(0);
  const fell = pressureOf(
    readings({ machineStalls: stalls(500) }),
    readings({ machineStalls: stalls(400, 300) }),
    1000,
  );
  expect(fell.stallShare).toBe(0.1);
});

test('the machine’s stalls count beside the group’s only where the machine is short', () => {
  const given = (freeBytes: number) =>
    pressureOf(
      readings({
        groupStalls: stalls(0),
        machineStalls: stalls(500),
        machineRoom: { ...AMPLE, freeBytes },
      }),
      readings({ groupStalls: stalls(0), machineStalls: stalls(0) }),
      1000,
    );
  expect(given(8 * GIB).stallShare).toBe(0);
  expect(given(GIB).stallShare).toBe(0.5);
});

test('a group’s reserve is a sixteenth of its limit, and the tightest of all groups counts', () => {
  const groupRooms = [
    { limitBytes: GIB, freeBytes: 80 * MIB },
    { limitBytes: 4 * GIB, freeBytes: 156 * MIB },
  ];
  for (const rooms of [groupRooms, groupRooms.toReversed()]) {
    expect(pressureOf(readings({ groupRooms: rooms }), undefined, 0)).toMatchObject({
      groupDeficitBytes: 100 * MIB,
      groupSpareBytes: -356 * MIB,
      isSevere: false,
    });
  }
  const over = [{ limitBytes: GIB, freeBytes: -MIB }];
  expect(pressureOf(readings({ groupRooms: over }), undefined, 0)).toMatchObject({
    groupDeficitBytes: 65 * MIB,
    isSevere: true,
  });
});

test.each([
  [64 * MIB, 8 * MIB],
  [GIB, 64 * MIB],
  [32 * GIB, 512 * MIB],
])(
  'a group of %d bytes is to have %d free; a quarter of that left is severe',
  (limitBytes, reserve) => {
    const given = (freeBytes: number) =>
      pressureOf(readings({ groupRooms: [{ limitBytes, freeBytes }] }), undefined, 0);
    expect(given(reserve)).toMatchObject({ groupDeficitBytes: 0, groupSpareBytes: -reserve });
    expect(given(reserve / 4)).toMatchObject({
      groupDeficitBytes: reserve * 0.75,
      isSevere: false,
    });
    expect(given(reserve / 4 - 1).isSevere).toBe(true);
  },
);

test('the machine’s reserve is a twentieth, 64 MiB at least and at most 2 GiB', () => {
  const given = (limitBytes: number, freeBytes: number) =>
    pressureOf(readings({ machineRoom: { limitBytes, freeBytes } }), undefined, 0);
  expect(given(GIB, 60 * MIB).machineDeficitBytes).toBe(4 * MIB);
  expect(given(20 * GIB, GIB / 2).machineDeficitBytes).toBe(GIB / 2);
  expect(given(512 * GIB, GIB)).toMatchObject({
    machineDeficitBytes: GIB,
    machineSpareBytes: -3 * GIB,
  });
  expect(given(20 * GIB, GIB / 5).isSevere).toBe(true);
});

test('stalls of a machine that is short are severe when all tasks wait', () => {
  expect(machineGrew(100, 100, 0, SHORT).isSevere).toBe(true);
  expect(machineGrew(100, 90, 0, SHORT).isSevere).toBe(false);
});
