import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Arena, ArenaExit } from '../../src/tmem/arena.ts';

const MIB = 1024 * 1024;

test('an arena that is released leaves the process, though its views are still referred to', async () => {
  const exit = new ArenaExit();
  // A port is closed only when the event loop has turned.
  for (let turn = 0; turn < 3; turn++) await setImmediate();
  const arenas = Array.from({ length: 8 }, () => new Arena(32 * MIB, MIB, 4096));
  for (const arena of arenas) arena.buffer.fill(1);
  const before = process.memoryUsage.rss();
  for (const arena of arenas) arena.release(exit);
  expect(before - process.memoryUsage.rss()).toBeGreaterThan(200 * MIB);
  expect(arenas.map(({ buffer, words }) => buffer.length + words.length)).toEqual(
    arenas.map(() => 0),
  );
});
