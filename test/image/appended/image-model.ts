/** Random requests at once against an image, and a Buffer that says what it must hold. */

import { expect } from 'vitest';
import type { BlockImage } from '../../../src/image/image.ts';
import { fc } from '../../tools/seed.ts';

const operation = fc.record({
  kind: fc.constantFrom('write', 'write', 'write', 'zeroes', 'read', 'sync'),
  fill: fc.integer({ min: 1, max: 255 }),
  mayDiscard: fc.boolean(),
});

/** Requests at once, over ranges that touch and do not overlap; `units` are where they like to cut. */
export function roundsOf(sizeBytes: number, unitBytes: number) {
  const cut = fc.oneof(
    fc.nat(sizeBytes),
    fc.nat(Math.floor(sizeBytes / unitBytes)).map((unit) => unit * unitBytes),
    fc.nat(Math.floor(sizeBytes / 512)).map((sector) => sector * 512),
    fc.constant(sizeBytes),
  );
  const cuts = fc.uniqueArray(cut, { minLength: 2, maxLength: 9 });
  return fc.array(fc.tuple(cuts, fc.array(operation, { minLength: 8, maxLength: 8 })), {
    maxLength: 6,
  });
}

type Rounds = ReturnType<typeof roundsOf> extends fc.Arbitrary<infer Value> ? Value : never;

export async function runRounds(image: BlockImage, content: Buffer, rounds: Rounds): Promise<void> {
  for (const [cuts, operations] of rounds) {
    const borders = [...cuts].sort((a, b) => a - b);
    const work = borders.slice(1).map((end, i) => {
      const operation = operations[i];
      const start = borders[i] ?? 0;
      return operation === undefined ? undefined : runOne(image, content, operation, start, end);
    });
    await Promise.all(work);
  }
}

async function runOne(
  image: BlockImage,
  content: Buffer,
  { kind, fill, mayDiscard }: { kind: string; fill: number; mayDiscard: boolean },
  start: number,
  end: number,
): Promise<void> {
  const length = end - start;
  if (kind === 'sync') return image.sync();
  if (kind === 'read') {
    const read = Buffer.alloc(length);
    await image.read(read, 0, length, start);
    expectSame(read, content.subarray(start, end));
  } else if (kind === 'zeroes') {
    await image.writeZeroes(start, length, mayDiscard);
    content.fill(0, start, end);
  } else {
    const bytes = Buffer.from(Array.from({ length }, (_, i) => (fill + (i >> 6)) % 256));
    await image.write(bytes, 0, length, start);
    bytes.copy(content, start);
  }
}

/** Compares by sectors, so that a difference is named and not printed. */
export function expectSame(actual: Buffer, expected: Buffer): void {
  expect(actual.length).toBe(expected.length);
  if (actual.equals(expected)) return;
  for (let at = 0; at < actual.length; at += 512) {
    const isSame = actual.subarray(at, at + 512).equals(expected.subarray(at, at + 512));
    expect(isSame, `sector at ${at} is as expected`).toBe(true);
  }
}
