import { describe, expect, it } from 'vitest';
import { BlockImage } from '../../src/image/image.ts';
import { rawImage } from '../../src/image/raw.ts';
import { pattern } from '../storage/contract.ts';
import { FaultyStorage } from '../storage/faulty-storage.ts';
import { MemoryStorage } from '../storage/memory-storage.ts';
import { fc } from '../tools/seed.ts';
import { ToyFormat, type ToyOptions, toyCipher } from './toy-format.ts';

const UNIT = 2048;
const SIZE = 14 * UNIT + 512;

interface Kind {
  readonly isAsync: boolean;
  readonly isEnciphered: boolean;
  readonly backingBytes: number;
  readonly cannotZero?: boolean;
}

function imageOf({ isAsync, isEnciphered, backingBytes, cannotZero = false }: Kind) {
  const storage = new FaultyStorage(new MemoryStorage(Buffer.alloc(0), { isContainer: true }));
  const hasBacking = backingBytes > 0;
  const options: ToyOptions = {
    ...{ storage, sizeBytes: SIZE, unitBytes: UNIT, isAsync, hasBacking, cannotZero },
    ...(isEnciphered ? { cipher: toyCipher } : {}),
  };
  const format = new ToyFormat(options);
  const base = pattern(backingBytes);
  const backing = hasBacking ? rawImage(new MemoryStorage(base), 'base') : undefined;
  const image = new BlockImage({ name: 'toy', identity: 'toy', medium: 'toy', format, backing });
  const content = Buffer.alloc(SIZE);
  base.copy(content);
  return { image, format, storage, content };
}

const operation = fc.record({
  kind: fc.constantFrom('write', 'write', 'read', 'zeroes', 'discard', 'compress'),
  mayDiscard: fc.boolean(),
  fill: fc.integer({ min: 1, max: 255 }),
  /** Turns that its storage requests wait, so that requests overtake each other. */
  fails: fc.integer({ min: 0, max: 9 }),
});
const cut = fc.oneof(
  fc.nat(SIZE),
  fc.nat(14).map((unit) => unit * UNIT),
  fc.constant(SIZE),
);
/** Requests at once, for ranges that touch but do not overlap. */
const round = fc.tuple(
  fc.uniqueArray(cut, { minLength: 2, maxLength: 9 }),
  fc.array(operation, { minLength: 8, maxLength: 8 }),
);

async function runRound(
  { image, storage, content }: ReturnType<typeof imageOf>,
  [cuts, operations]: typeof round extends fc.Arbitrary<infer Round> ? Round : never,
): Promise<void> {
  const borders = cuts.sort((a, b) => a - b);
  const work = borders.slice(1).map(async (end, i) => {
    const operation = operations[i]!;
    const start = borders[i]!;
    const length = end - start;
    if (operation.kind === 'read') {
      const read = Buffer.alloc(length + 2, 9);
      await image.read(read, 1, length, start);
      expect(read.subarray(1, length + 1).equals(content.subarray(start, end))).toBe(true);
      expect([read[0], read[length + 1]]).toEqual([9, 9]);
      return;
    }
    if (operation.fails === 0) storage.failNext('write');
    for (let tries = 0; tries < 9; tries++) {
      try {
        await change(image, operation, content, start, end);
        return;
      } catch (cause) {
        expect(cause).toMatchObject({ kind: 'io' }); // a write of anybody failed: it tries again
      }
    }
    expect.fail('a change failed more often than it was made to');
  });
  await Promise.all(work);
}

async function change(
  image: BlockImage,
  { kind, fill, mayDiscard }: { kind: string; fill: number; mayDiscard: boolean },
  content: Buffer,
  start: number,
  end: number,
): Promise<void> {
  const length = end - start;
  if (kind === 'zeroes') {
    await image.writeZeroes(start, length, mayDiscard);
    content.fill(0, start, end);
  } else if (kind === 'discard') {
    await image.discard(start, length);
    const wholeEnd = end === SIZE ? end : Math.floor(end / UNIT) * UNIT;
    const wholeStart = Math.ceil(start / UNIT) * UNIT;
    if (wholeStart < wholeEnd) content.fill(0, wholeStart, wholeEnd);
  } else if (kind === 'compress') {
    const offset = Math.ceil(start / UNIT) * UNIT;
    if (offset + UNIT > end) return;
    await image.writeCompressed(offset, Buffer.alloc(UNIT, fill));
    content.fill(fill, offset, offset + UNIT);
  } else {
    const bytes = Buffer.from(Array.from({ length }, (_, i) => (fill + (i >> 4)) % 256));
    await image.write(bytes, 0, length, start);
    bytes.copy(content, start);
  }
}

describe.each([
  { isAsync: false, isEnciphered: false, backingBytes: 0 },
  { isAsync: true, isEnciphered: false, backingBytes: 5 * UNIT + 512 },
  { isAsync: false, isEnciphered: true, backingBytes: SIZE + UNIT },
  { isAsync: true, isEnciphered: true, backingBytes: 3 * UNIT },
  { isAsync: false, isEnciphered: false, backingBytes: 9 * UNIT, cannotZero: true },
])('an image on a format with tables: %o', (kind) => {
  it('holds what was written through requests at once, and through failures', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(round, { maxLength: 8 }), fc.nat(5), async (rounds, seed) => {
        const parts = imageOf(kind);
        let turn = seed;
        const delay = async () => {
          turn = (turn * 5 + 3) % 16;
          for (let i = 0; i < turn % 4; i++) await new Promise((resolve) => setImmediate(resolve));
        };
        parts.storage.onRead = delay;
        parts.storage.onWrite = delay;
        for (const each of rounds) {
          await runRound(parts, each);
          const read = Buffer.alloc(SIZE);
          await parts.image.read(read, 0, SIZE, 0);
          for (let at = 0; at < SIZE; at += 512) {
            const isSame = read.subarray(at, at + 512).equals(parts.content.subarray(at, at + 512));
            expect(isSame, `sector at ${at}`).toBe(true);
          }
        }
        // Every request has left: whatever was given up can be used again.
        expect(parts.format.epochs.isPast(parts.format.epochs.advance())).toBe(true);
      }),
      { numRuns: 40 },
    );
  });
});
