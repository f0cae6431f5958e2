import { expect, test } from 'vitest';
import { type ShrinkEnd, ShrinkSlices } from '../../src/governor/shrink-slices.ts';
import { MIB, ScriptedClock, ScriptedLayers } from './scripted.ts';

const STEP = 256 * 1024;

/** Layers that hold 64 MiB, and slices over them. */
function given() {
  const clock = new ScriptedClock();
  const layers = new ScriptedLayers(clock, 64 * MIB);
  layers.usedBytes = 64 * MIB;
  const ends: ShrinkEnd[] = [];
  const slices = new ShrinkSlices(layers, clock, (end) => ends.push(end));
  return { clock, layers, slices, ends };
}

test('nothing is done in the turn that asks for it, and nothing when it is not needed', () => {
  const { clock, layers, slices, ends } = given();
  slices.downTo(64 * MIB);
  expect(slices.isRunning).toBe(false);
  slices.downTo(32 * MIB);
  expect([slices.isRunning, layers.steps.length]).toEqual([true, 0]);
  clock.settle();
  expect([layers.usedBytes, slices.freedBytes, slices.isRunning]).toEqual([
    32 * MIB,
    32 * MIB,
    false,
  ]);
  expect(ends).toEqual(['done']);
});

test('a goal that changes while it is worked for, and what is asked for beside it, make one run', () => {
  const { clock, slices, layers, ends } = given();
  slices.downTo(32 * MIB);
  slices.downTo(48 * MIB);
  slices.by(4 * MIB);
  slices.by(2 * MIB);
  expect(clock.turns.length).toBe(1);
  clock.settle();
  expect([layers.usedBytes, ends]).toEqual([48 * MIB, ['done']]);
  slices.by(4 * MIB);
  slices.by(6 * MIB);
  clock.settle();
  expect([layers.usedBytes, ends.length]).toEqual([42 * MIB, 2]);
  slices.by(4 * MIB);
  slices.by(2 * MIB);
  clock.settle();
  expect(layers.usedBytes).toBe(38 * MIB);
});

test('the last step takes no more than is still missing', () => {
  const { clock, layers, slices } = given();
  slices.downTo(64 * MIB - STEP - 1000);
  clock.settle();
  expect(layers.steps).toEqual([STEP, 1000]);
});

test.each([0.01, 0.1, 0.3, 0.7, 1.3])(
  'a turn takes no more than 2 ms, at %s ms a step',
  (stepMs) => {
    const { clock, layers, slices } = given();
    layers.stepMs = stepMs;
    slices.downTo(60 * MIB);
    let turns = 0;
    while (slices.isRunning) {
      const before = clock.timeMs;
      clock.turn();
      turns++;
      expect(clock.timeMs - before).toBeLessThanOrEqual(2);
    }
    expect(turns).toBeGreaterThanOrEqual(Math.floor((layers.steps.length * stepMs) / 2));
    expect(Math.max(...layers.steps)).toBeLessThanOrEqual(STEP);
  },
);

test('steps that take long become smaller, down to 16 KiB, and grow again when they do not', () => {
  const { clock, layers, slices } = given();
  layers.stepMs = 3;
  slices.downTo(0);
  for (let i = 0; i < 10; i++) clock.turn();
  expect(layers.steps).toEqual([256, 128, 64, 32, 16, 16, 16, 16, 16, 16].map((k) => k * 1024));
  layers.stepMs = 0.01;
  clock.turn();
  expect(layers.steps.slice(10, 16)).toEqual([16, 32, 64, 128, 256, 256].map((k) => k * 1024));
});

test('steps that take neither long nor hardly any time keep their size', () => {
  const { clock, layers, slices } = given();
  layers.stepMs = 3;
  slices.downTo(0);
  for (let i = 0; i < 3; i++) clock.turn();
  layers.stepMs = 0.3;
  for (let i = 0; i < 3; i++) clock.turn();
  expect(new Set(layers.steps.slice(3))).toEqual(new Set([32 * 1024]));
});

test('gentle slices take half a millisecond, and 10 ms of rest', () => {
  const { clock, layers, slices } = given();
  slices.isGentle = true;
  slices.downTo(32 * MIB);
  const start = clock.timeMs;
  clock.turn();
  expect(clock.timeMs - start).toBeLessThanOrEqual(0.5);
  const { length } = layers.steps;
  expect(length).toBeGreaterThan(0);
  for (let i = 0; i < 5; i++) clock.turn();
  expect(layers.steps.length).toBe(length);
  clock.pass(10);
  expect(layers.steps.length).toBeGreaterThan(length);
});

test('the goal of a run that is under way can be changed', () => {
  const { clock, layers, slices, ends } = given();
  slices.downTo(10 * MIB);
  clock.turn();
  slices.downTo(50 * MIB);
  clock.settle();
  expect(layers.usedBytes).toBe(50 * MIB);
  expect(ends).toEqual(['done']);
});

test('it is stuck when 64 steps in a row freed nothing, and no sooner', () => {
  const { clock, layers, slices, ends } = given();
  layers.persistentBytes = 63 * MIB;
  slices.downTo(32 * MIB);
  clock.settle();
  expect(ends).toEqual(['stuck']);
  expect(layers.steps.length).toBe(4 + 64);
  expect(slices.excessBytes).toBe(31 * MIB);
});

test('layers that say they freed, and use as much as before, do not keep it busy for ever', () => {
  const { clock, layers, slices, ends } = given();
  layers.shrink = (bytes) => {
    clock.timeMs += 0.1;
    return bytes;
  };
  slices.downTo(32 * MIB);
  clock.settle();
  expect(ends).toEqual(['stuck']);
});

test('shrinking by an amount ends when that was given back, whatever was put meanwhile', () => {
  const { clock, layers, slices, ends } = given();
  slices.by(8 * MIB);
  while (slices.isRunning) {
    clock.turn();
    layers.usedBytes += MIB;
  }
  expect(slices.freedBytes).toBe(8 * MIB);
  expect(ends).toEqual(['done']);
});

test('stopped in the middle, it frees nothing more; it can be started again', () => {
  const { clock, layers, slices, ends } = given();
  slices.by(32 * MIB);
  clock.turn();
  const { usedBytes } = layers;
  slices.stop();
  slices.stop();
  expect(clock.settle()).toBe(0);
  slices.downTo(64 * MIB);
  expect(slices.isRunning).toBe(false);
  expect([layers.usedBytes, ends]).toEqual([usedBytes, ['stopped']]);
  slices.isGentle = true;
  slices.downTo(0);
  clock.turn();
  slices.stop();
  const before = layers.usedBytes;
  clock.pass(1000);
  expect(layers.usedBytes).toBe(before);
});
