import { describe, expect, test } from 'vitest';
import { Governor } from '../../src/governor/governor.ts';
import type { PressureReadings } from '../../src/governor/pressure-readings.ts';
import { GIB, MIB, readings, ScriptedClock, ScriptedLayers, stalls } from './scripted.ts';

const TICK_MS = 1000;

/** A governor of layers that hold a gibibyte, on readings and a lag that the test sets. */
function given(configuredBytes = GIB) {
  const clock = new ScriptedClock();
  const layers = new ScriptedLayers(clock, configuredBytes);
  layers.usedBytes = configuredBytes;
  const world: { readings: PressureReadings | undefined; lagMs: number; isLagStopped: boolean } = {
    readings: readings({ machineStalls: stalls(0) }),
    lagMs: 0,
    isLagStopped: false,
  };
  const messages: string[] = [];
  const governor = new Governor({
    reclaimable: layers,
    configuredBytes,
    log: { warn: (message) => messages.push(message) },
    read: () => world.readings,
    lag: {
      read: () => world.lagMs,
      stop: () => {
        world.isLagStopped = true;
      },
    },
    clock,
  });
  /** Stalls of half of every second, for so many seconds. */
  let totalMs = 0;
  const stall = (seconds: number): void => {
    for (let i = 0; i < seconds * 4; i++) {
      totalMs += 125;
      world.readings = readings({ machineStalls: stalls(totalMs) });
      clock.pass(TICK_MS / 4);
    }
  };
  return { clock, layers, world, messages, governor, stall };
}

const short = (deficitBytes: number): PressureReadings =>
  readings({
    machineStalls: stalls(0),
    groupRooms: [{ limitBytes: 2 * GIB, freeBytes: 128 * MIB - deficitBytes }],
  });

test('without pressure nothing is done but looking, once a second', () => {
  const { clock, layers, messages, governor } = given();
  expect(governor.state).toMatchObject({ ticks: 0, readings: undefined, stallSource: 'none' });
  governor.start();
  governor.start();
  clock.pass(60 * TICK_MS);
  expect(governor.state).toMatchObject({ ticks: 61, reason: 'calm', targetBytes: GIB });
  expect([layers.limits, layers.steps, messages]).toEqual([[], [], []]);
});

test('without a descriptor to look with, the limit stays, and nothing is said of the kernel', () => {
  const { clock, world, messages, governor } = given();
  governor.start();
  world.readings = short(100 * MIB);
  clock.pass(3 * TICK_MS);
  const { targetBytes, reason } = governor.state;
  expect(targetBytes).toBeLessThan(GIB);
  const said = messages.length;
  world.readings = undefined;
  clock.pass(60 * TICK_MS);
  expect(governor.state).toMatchObject({ targetBytes, reason, stallSource: 'machine' });
  expect(messages.length).toBe(said);
  world.readings = readings({ machineStalls: stalls(0) });
  clock.pass(60 * TICK_MS);
  expect(governor.state.targetBytes).toBeGreaterThan(targetBytes);
});

test('a cap that is lowered takes effect in bounded turns, and with the next tick once it can', () => {
  const { clock, layers, governor } = given();
  layers.pagesAboveCaps = 150;
  governor.fitCaps();
  expect(layers.trims).toEqual([]);
  expect(clock.settle()).toBe(4);
  expect(layers.trims).toEqual([64, 64, 22]);
  expect(layers.fits).toEqual([0]); // who has more in dirty pages is asked when no others are left
  governor.start();
  clock.settle();
  layers.pagesAboveCaps = 10; // dirty pages that became clean
  clock.pass(TICK_MS);
  expect(layers.trims.at(-1)).toBe(10);
  expect(layers.fits).toEqual([0, 0, 0]); // with every tick
  layers.pagesAboveCaps = 10;
  governor.fitCaps();
  governor.stop();
  clock.pass(TICK_MS);
  expect(layers.pagesAboveCaps).toBe(10);
  governor.fitCaps();
  clock.settle();
  expect(layers.pagesAboveCaps).toBe(0);
});

test('stalls lower the limit at once and the memory after it; calm raises it slowly', () => {
  const { clock, layers, governor, messages, stall } = given();
  governor.start();
  clock.pass(10);
  stall(5);
  const low = layers.limitBytes;
  expect(low).toBeLessThan(GIB / 3);
  expect(layers.usedBytes).toBe(low);
  expect(governor.state).toMatchObject({ reason: 'psi', stallSource: 'machine' });
  expect(governor.state.shrunkBytes).toBe(GIB - low);
  const downs = layers.limits.length;
  clock.pass(9 * TICK_MS);
  expect(layers.limits.length).toBe(downs);
  clock.pass(200 * TICK_MS);
  const ups = layers.limits
    .slice(downs)
    .map((limit, i) => limit - (layers.limits[downs + i - 1] ?? 0));
  expect(Math.max(...ups)).toBeLessThanOrEqual(GIB / 64);
  expect(layers.limitBytes).toBe(GIB);
  expect(governor.state.cuts).toMatchObject({ psi: downs, cgroup: 0 });
  expect(messages).toEqual([
    expect.stringMatching(/^memory is short \(psi\): the limit goes from 1GiB to /),
    'memory is free again: the limit is back at 1GiB',
  ]);
});

test('a group that lacks its reserve gets it back, and is looked after four times a second', () => {
  const { clock, layers, world, governor } = given();
  governor.start();
  world.readings = short(60 * MIB);
  clock.pass(TICK_MS);
  expect(layers.limitBytes).toBe(GIB - 60 * MIB);
  expect(governor.state.ticks).toBe(2);
  clock.pass(TICK_MS);
  expect(governor.state.ticks).toBe(6);
  world.readings = short(0);
  clock.pass(5 * TICK_MS);
  expect(layers.usedBytes).toBe(GIB - 60 * MIB);
  expect(governor.state.cuts.cgroup).toBe(1);
  expect(layers.requests).toEqual([]); // nothing dirty was in the way
  world.readings = { ...short(0), groupStalls: stalls(0) };
  clock.pass(TICK_MS);
  expect(governor.state.stallSource).toBe('group');
});

describe('when nothing more can be given back', () => {
  test('it asks for dirty pages to be written, and tries again at the next tick', () => {
    const { clock, layers, governor } = given();
    governor.start();
    layers.persistentBytes = 900 * MIB;
    governor.setConfiguredLimit(GIB / 2);
    clock.settle();
    expect(layers.requests).toEqual([388 * MIB]);
    expect(governor.state).toMatchObject({ isStuck: true, isShrinking: false });
    clock.pass(0.9 * TICK_MS);
    expect(layers.requests.length).toBe(1);
    clock.pass(TICK_MS);
    expect(layers.requests.length).toBe(1 + 4);
    clock.timeMs += TICK_MS;
    clock.turn(); // a tick, which tries once more
    expect(governor.state).toMatchObject({ isStuck: true, isShrinking: true });
    clock.settle();
    governor.setConfiguredLimit(GIB);
    expect(governor.state.isStuck).toBe(false);
    governor.setConfiguredLimit(GIB / 2);
    layers.persistentBytes = 0;
    clock.pass(TICK_MS);
    expect(layers.usedBytes).toBe(GIB / 2);
    expect(governor.state.isStuck).toBe(false);
  });

  test('it tries again also while it has no descriptor to look with', () => {
    const { clock, layers, world, governor } = given();
    governor.start();
    layers.persistentBytes = 900 * MIB;
    governor.setConfiguredLimit(GIB / 2);
    clock.settle();
    world.readings = undefined;
    layers.persistentBytes = 0;
    clock.pass(2 * TICK_MS);
    expect(layers.usedBytes).toBe(GIB / 2);
    expect(governor.state.isStuck).toBe(false);
  });
});

describe('the configured limit', () => {
  test('lowered holds at once and is reached in slices; raised it is a limit again', () => {
    const { clock, layers, governor } = given();
    governor.start();
    governor.setConfiguredLimit(GIB / 4);
    expect([layers.limitBytes, layers.usedBytes]).toEqual([GIB / 4, GIB]);
    expect(governor.state).toMatchObject({ reason: 'manual', isShrinking: true });
    expect(clock.settle()).toBeGreaterThan(100);
    expect(layers.usedBytes).toBe(GIB / 4);
    governor.setConfiguredLimit(2 * GIB);
    expect(layers.limitBytes).toBe(2 * GIB);
    governor.setConfiguredLimit(2 * GIB);
    expect(governor.state.cuts.manual).toBe(1);
  });

  test('a higher minimum lifts a lowered one at once', () => {
    const { clock, layers, governor, stall } = given();
    governor.start();
    clock.pass(10);
    stall(5);
    expect(layers.limitBytes).toBeLessThan(GIB / 3);
    governor.setFloor(GIB / 2);
    expect(layers.limitBytes).toBe(GIB / 2);
  });

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])('%s is refused', async (bytes) => {
    const { governor } = given();
    const refusal = expect.objectContaining({ kind: 'usage' });
    expect(() => governor.setConfiguredLimit(bytes)).toThrow(refusal);
    expect(() => governor.setFloor(bytes)).toThrow(refusal);
    await expect(governor.reclaim(bytes)).rejects.toThrow(refusal);
  });
});

describe('reclaim', () => {
  test('gives back what it is asked for, and leaves the limit', async () => {
    const { clock, layers, governor } = given();
    const reclaimed = governor.reclaim(100 * MIB);
    clock.settle();
    expect(await reclaimed).toBe(100 * MIB);
    expect([layers.usedBytes, layers.limits]).toEqual([GIB - 100 * MIB, []]);
    expect(await governor.reclaim(0)).toBe(0);
  });

  test('answers what it got when there is no more, or it is stopped', async () => {
    const { clock, layers, governor } = given();
    layers.persistentBytes = GIB - 3 * MIB;
    const some = governor.reclaim(100 * MIB);
    clock.settle();
    expect(await some).toBe(3 * MIB);
    // The limit holds: nothing that is dirty is in anybody's way.
    expect([governor.state.isStuck, layers.requests]).toEqual([false, []]);
    layers.persistentBytes = 0;
    const stopped = governor.reclaim(500 * MIB);
    clock.turn();
    governor.stop();
    expect(await stopped).toBeLessThan(10 * MIB);
  });
});

test('stop ends it in the middle of shrinking, and start goes on', () => {
  const { clock, layers, world, governor } = given();
  governor.start();
  governor.setConfiguredLimit(GIB / 2);
  clock.turn();
  governor.stop();
  const { usedBytes } = layers;
  clock.pass(60 * TICK_MS);
  expect(layers.usedBytes).toBe(usedBytes);
  expect([governor.state.ticks, world.isLagStopped]).toEqual([1, true]);
  expect(clock.timers).toEqual([]);
  governor.start();
  clock.settle();
  expect(layers.usedBytes).toBe(GIB / 2);
});

test('a late loop is spared: smaller slices, with pauses, and no growth', () => {
  const { clock, layers, world, governor } = given();
  world.lagMs = 19;
  governor.start();
  governor.setConfiguredLimit(GIB - 32 * MIB);
  clock.turn();
  expect(layers.steps.length * layers.stepMs).toBeGreaterThan(1.5);
  expect(clock.settle()).toBeGreaterThan(0);
  expect(layers.usedBytes).toBe(GIB - 32 * MIB);
  layers.steps.length = 0;
  world.lagMs = 20;
  clock.pass(TICK_MS);
  governor.setConfiguredLimit(GIB / 2);
  clock.turn();
  const before = clock.timeMs;
  const { length } = layers.steps;
  expect(length * layers.stepMs).toBeLessThanOrEqual(0.5);
  expect(clock.settle()).toBe(0);
  clock.pass(100);
  expect((layers.steps.length - length) * layers.stepMs).toBeLessThanOrEqual(0.5 * 10);
  expect(clock.timeMs).toBeGreaterThanOrEqual(before + 100);
});

describe('missing stall information', () => {
  test('is said once, and the rest is used', () => {
    const { clock, layers, world, messages, governor } = given();
    world.readings = readings();
    governor.start();
    clock.pass(5 * TICK_MS);
    governor.stop();
    governor.start();
    expect(messages).toEqual([expect.stringContaining('memory pressure information (PSI')]);
    world.readings = { ...short(50 * MIB), machineStalls: undefined };
    clock.pass(TICK_MS);
    expect(layers.limitBytes).toBe(GIB - 50 * MIB);
    expect(governor.state).toMatchObject({ reason: 'cgroup', stallSource: 'none' });
  });

  test('is said by every governor for itself', () => {
    for (const { governor, world, messages } of [given(), given()]) {
      world.readings = readings();
      governor.start();
      expect(messages.length).toBe(1);
    }
  });
});
