import { describe, expect, it } from 'vitest';
import { ByteBudget } from '../../../src/image/data/byte-budget.ts';
import { EncipheredWrites } from '../../../src/image/data/enciphered.ts';
import { Scratch } from '../../../src/image/data/scratch.ts';
import type { Storage } from '../../../src/storage/storage.ts';

/** Node has it, though its types leave it to those of browsers. */
declare const WebAssembly: { Memory: new () => object };

const KIB = 1024;
const guest = Buffer.alloc(1);

/** What of the promises has resolved by now. */
async function resolved(waiting: readonly (Buffer | Promise<unknown> | undefined)[]) {
  const pending = Symbol('pending');
  const turn = new Promise((resolve) => setImmediate(resolve, pending));
  const found = await Promise.all(waiting.map((each) => Promise.race([each, turn])));
  return found.map((each) => each !== pending);
}

function taken(scratch: Scratch, length: number): Buffer {
  const buffer = scratch.take(length, guest);
  if (buffer instanceof Promise) throw new Error('there is none left');
  return buffer;
}

describe('scratch memory', () => {
  it('is given out in pieces that do not overlap, and again when they are back', () => {
    const scratch = new Scratch(300 * KIB);
    expect(scratch.bytesMax).toBe(256 * KIB);
    const pieces = [64 * KIB, 100 * KIB, 1].map((length) => taken(scratch, length));
    for (const [i, piece] of pieces.entries()) piece.fill(i + 1);
    expect(pieces.map((piece) => [piece.length / KIB, piece[0], piece[piece.length - 1]])).toEqual([
      [64, 1, 1],
      [128, 2, 2],
      [64, 3, 3],
    ]);
    for (const piece of pieces) scratch.give(piece);
    expect(taken(scratch, 256 * KIB).buffer).toBe(pieces[0]?.buffer);
  });

  it('is waited for in turn when there is none left', async () => {
    const scratch = new Scratch(128 * KIB);
    const [a, b] = [taken(scratch, 64 * KIB), taken(scratch, 64 * KIB)];
    const large = scratch.take(128 * KIB, guest);
    const small = scratch.take(1, guest);
    scratch.give(a);
    expect(await resolved([large, small])).toEqual([false, false]);
    scratch.give(b);
    expect(await resolved([large, small])).toEqual([true, false]);
    scratch.give(await large);
    expect(await resolved([small])).toEqual([true]);
  });

  it('is one piece that is larger than all of it, for one at a time', async () => {
    const scratch = new Scratch(64 * KIB);
    const first = taken(scratch, 1);
    const huge = [scratch.take(200 * KIB, guest), scratch.take(200 * KIB, guest)] as const;
    expect(await resolved(huge)).toEqual([false, false]);
    scratch.give(first);
    expect(await resolved(huge)).toEqual([true, false]);
    expect((await huge[0]).length).toBe(200 * KIB);
    scratch.give(await huge[0]);
    scratch.give(await huge[1]);
    expect(taken(scratch, 1).length).toBe(64 * KIB);
  });

  it('makes nobody wait who has some', () => {
    const scratch = new Scratch(64 * KIB);
    const mine = taken(scratch, 64 * KIB);
    const plain = scratch.take(3000, mine);
    if (plain instanceof Promise) throw new Error('it waits for itself');
    expect(plain.buffer).not.toBe(mine.buffer);
    expect(scratch.take(10, plain)).toBeInstanceOf(Buffer);
    scratch.give(plain);
    scratch.give(mine);
    expect(taken(scratch, 64 * KIB).buffer).toBe(mine.buffer);
  });
});

/** The system has no room for a buffer, once. */
function noRoomOnce(): void {
  const { Memory } = WebAssembly;
  WebAssembly.Memory = class {
    constructor() {
      WebAssembly.Memory = Memory;
      throw new RangeError('could not allocate memory');
    }
  };
}

describe('where the system has no room for it at first', () => {
  it('is there for the next', () => {
    const scratch = new Scratch(64 * KIB);
    noRoomOnce();
    expect(() => scratch.take(1, guest)).toThrow(/no room/);
    expect(taken(scratch, 64 * KIB).length).toBe(64 * KIB);
  });

  it('a write of a part of a sector that fails is in no other one’s way', async () => {
    const storage = { sizeBytes: 512, read: async () => {}, write: async () => {} };
    const place = {
      storage: storage as unknown as Storage,
      ...{ storageOffset: 0, guestOffset: 0 },
      cipher: { encrypt: () => {}, decrypt: () => {} },
    };
    const writes = new EncipheredWrites(new Scratch(64 * KIB));
    noRoomOnce();
    await expect(writes.write(place, guest, 0, 1)).rejects.toThrow(/no room/);
    await writes.write(place, guest, 0, 1);
  });
});

it('a budget of bytes is kept, and what is more than all of it goes alone', async () => {
  const budget = new ByteBudget(100);
  expect([budget.take(60), budget.take(40)]).toEqual([undefined, undefined]);
  const waiting = [budget.take(300), budget.take(1)];
  budget.give(60);
  expect(await resolved(waiting)).toEqual([false, false]);
  budget.give(40);
  expect(await resolved(waiting)).toEqual([true, false]);
  budget.give(300);
  expect(await resolved(waiting)).toEqual([true, true]);
});
