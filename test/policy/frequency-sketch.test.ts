import { expect, it } from 'vitest';
import { FrequencySketch } from '../../src/policy/parts/frequency-sketch.ts';
import { GhostMemory } from '../../src/policy/parts/ghost.ts';
import { fc } from '../tools/seed.ts';

const hashOf = (key: number) => Math.imul(key, 0x9e3779b1) >>> 0;

it('a sketch never counts less than there was, up to 15, before it ages', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 100 }), { maxLength: 600 }), (keys) => {
      const sketch = new FrequencySketch(new GhostMemory());
      sketch.ensure(64);
      const counts = new Map<number, number>();
      for (const key of keys) {
        sketch.add(hashOf(key));
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
      for (const [key, count] of counts) {
        expect(sketch.estimate(hashOf(key))).toBeGreaterThanOrEqual(Math.min(15, count));
      }
    }),
  );
});

it('a sketch counts hardly more than there was, for as many keys as it is for', () => {
  const sketch = new FrequencySketch(new GhostMemory());
  sketch.ensure(10_000);
  for (let round = 0; round < 3; round++) {
    for (let key = 0; key < 10_000; key++) sketch.add(hashOf(key));
  }
  let wrong = 0;
  for (let key = 0; key < 10_000; key++) if (sketch.estimate(hashOf(key)) !== 3) wrong++;
  expect(wrong).toBeLessThan(500);
});

it('a sketch keeps what it counted when it grows', () => {
  const sketch = new FrequencySketch(new GhostMemory());
  sketch.ensure(64);
  for (let use = 0; use < 7; use++) sketch.add(hashOf(1));
  sketch.ensure(5000);
  expect(sketch.estimate(hashOf(1))).toBe(7);
  expect(sketch.estimate(hashOf(2))).toBe(0);
});

it('a sketch with reserved memory counts as one that is copied when it grows', () => {
  const memory = new GhostMemory();
  const copied = new FrequencySketch(memory);
  const reserved = new FrequencySketch(memory, 5000);
  for (let turn = 0; turn < 2; turn++) {
    for (let key = 0; key < 10_000; key++) {
      for (const sketch of [copied, reserved]) {
        sketch.ensure(key >>> 1);
        for (let use = 0; use <= key % 5; use++) sketch.add(hashOf(key));
      }
    }
    const estimates = (sketch: FrequencySketch) =>
      Array.from({ length: 20_000 }, (_, key) => sketch.estimate(hashOf(key)));
    expect(estimates(reserved)).toEqual(estimates(copied));
    for (const sketch of [copied, reserved]) sketch.release();
    expect(memory.bytes).toBe(0);
  }
});

it('a sketch halves all counts after ten uses for each page', () => {
  const sketch = new FrequencySketch(new GhostMemory());
  sketch.ensure(64);
  for (let use = 0; use < 9; use++) sketch.add(hashOf(1));
  // Each of these counts, until all have been halved.
  for (let use = 9; use < 640; use++) sketch.add(hashOf(1000 + use));
  expect(sketch.estimate(hashOf(1))).toBeLessThan(9);
  expect(sketch.estimate(hashOf(1))).toBeGreaterThanOrEqual(4);
});

it('a sketch takes eight bytes a page, and gives them back', () => {
  const memory = new GhostMemory();
  const sketch = new FrequencySketch(memory);
  expect(memory.bytes).toBe(0);
  sketch.ensure(1024);
  expect(memory.bytes).toBe(8 * 1024);
  sketch.release();
  expect([memory.bytes, sketch.estimate(1)]).toEqual([0, 0]);
});

it('a sketch ages where there are suddenly fewer pages, and still counts', () => {
  const sketch = new FrequencySketch(new GhostMemory());
  for (let key = 0; key < 65_536; key++) {
    sketch.ensure(key + 1);
    sketch.add(hashOf(key));
  }
  for (let use = 0; use < 12; use++) sketch.add(hashOf(1));
  sketch.ensure(5000);
  for (let use = 0; use < 5; use++) sketch.add(hashOf(2));
  expect(sketch.estimate(hashOf(1))).toBeGreaterThanOrEqual(6);
  expect(sketch.estimate(hashOf(2))).toBeGreaterThanOrEqual(4);
});

it('a sketch gives memory back, and begins anew, where there are far fewer pages', () => {
  const memory = new GhostMemory();
  const sketch = new FrequencySketch(memory);
  sketch.ensure(65_536);
  sketch.ensure(4096);
  expect(memory.bytes).toBe(8 * 65_536);
  sketch.ensure(4095);
  expect(memory.bytes).toBe(8 * 4096);
  for (const pages of [1, 2, 3]) {
    sketch.ensure(pages); // there is no smaller one than for 64
    sketch.add(hashOf(1));
  }
  expect([memory.bytes, sketch.estimate(hashOf(1))]).toEqual([8 * 64, 3]);
});
