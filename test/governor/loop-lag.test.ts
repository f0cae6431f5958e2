import { expect, test } from 'vitest';
import { Governor } from '../../src/governor/governor.ts';
import { LoopLag, lagMsOf } from '../../src/governor/loop-lag.ts';
import { GIB, MIB, ScriptedClock, ScriptedLayers } from './scripted.ts';

const BLOCKED_MS = 60;

/** Holds the event loop up, then lets its timers fire. */
async function block(): Promise<void> {
  const end = performance.now() + BLOCKED_MS;
  while (performance.now() < end) {}
  await new Promise((resolve) => setTimeout(resolve, 0));
}

test('a sample that comes when it is due is not late', () => {
  expect([0, 20e6, 75e6].map(lagMsOf)).toEqual([0, 0, 55]);
});

test('a loop that is held up is late; before it is known to be busy nothing is measured', async () => {
  const lag = new LoopLag();
  await block();
  expect(lag.read()).toBe(0);
  for (let i = 0; i < 4; i++) await block();
  // A sample is due every 20 ms and came after 60 at the earliest.
  expect(lag.read()).toBeGreaterThanOrEqual(BLOCKED_MS - 20 - 1);
  expect(lag.read()).toBe(0);
  lag.stop();
  await block();
  expect(lag.read()).toBe(0);
  lag.stop();
});

test('a governor on this machine’s files and the real event loop frees what it is told to', async () => {
  const layers = new ScriptedLayers(new ScriptedClock(), GIB);
  layers.usedBytes = 64 * MIB;
  const log = { warn: () => undefined };
  const governor = new Governor({ reclaimable: layers, configuredBytes: GIB, log });
  governor.start();
  const freed = await governor.reclaim(16 * MIB);
  const { ticks, readings } = governor.state;
  governor.stop();
  expect(freed).toBeGreaterThanOrEqual(16 * MIB);
  expect(ticks).toBe(1);
  expect(readings?.machineRoom).toBeDefined();
});
