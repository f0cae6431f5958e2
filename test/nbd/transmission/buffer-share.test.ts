import { expect, test } from 'vitest';
import { BufferPool, PIECE_BYTES, type PooledBuffer } from '../../../src/lib/buffer-pool.ts';
import { BufferShare } from '../../../src/nbd/transmission/buffer-share.ts';

const MIB = 1024 * 1024;

function takeShare(share: BufferShare, bytes: number): PooledBuffer[] {
  const taken: PooledBuffer[] = [];
  while (share.hasRoomFor(bytes)) {
    const piece = share.take(bytes);
    if (piece === undefined) throw new Error('the pool is empty');
    taken.push(piece);
  }
  return taken;
}

test.each([1, 4 * MIB, 32 * MIB])(
  'of a pool of %d bytes, three clients leave buffers of both sizes to the fourth',
  (budget) => {
    const pool = new BufferPool(budget, 4096);
    for (let i = 0; i < 3; i++) {
      const share = new BufferShare(pool);
      takeShare(share, 1);
      takeShare(share, PIECE_BYTES);
    }
    expect(pool.take(1)).toBeDefined();
    expect(pool.take(PIECE_BYTES)).toBeDefined();
  },
);

test('a client that was refused hears of room once, when something of its own comes back', () => {
  const pool = new BufferPool(16 * MIB, 4096);
  const share = new BufferShare(pool);
  let heard = 0;
  share.onRoom = () => heard++;
  const [first, second] = takeShare(share, PIECE_BYTES);
  if (first === undefined || second === undefined) throw new Error('there are more');
  expect(share.hasRoomFor(1)).toBe(true);
  share.release(first);
  expect(heard).toBe(1);
  share.release(second);
  expect(heard).toBe(1);
  expect(share.hasRoomFor(PIECE_BYTES)).toBe(true);
});

test('what is waited for counts as held', async () => {
  const pool = new BufferPool(1, 4096);
  const others = [1, 2, 3, 4].map(() => pool.take(PIECE_BYTES));
  const share = new BufferShare(pool);
  expect(share.isUnused).toBe(true);
  const wait = share.wait(PIECE_BYTES);
  expect(share.isUnused).toBe(false);
  expect(share.hasRoomFor(PIECE_BYTES)).toBe(false);
  for (const piece of others) if (piece !== undefined) pool.release(piece);
  share.release(await wait);
  expect(share.isUnused).toBe(true);
  expect(pool.lentBytes).toBe(0);
});

test('who waits for room in the share goes on when there is some', async () => {
  const pool = new BufferPool(1, 4096);
  const share = new BufferShare(pool);
  const [held] = takeShare(share, PIECE_BYTES);
  let hasPiece = false;
  const wait = share.wait(PIECE_BYTES).then((piece) => {
    hasPiece = true;
    return piece;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(hasPiece).toBe(false);
  if (held !== undefined) share.release(held);
  share.release(await wait);
  expect(pool.lentBytes).toBe(0);
});

test('nobody waits for room in the share of a client that is gone', async () => {
  const pool = new BufferPool(1, 4096);
  const share = new BufferShare(pool);
  const [held] = takeShare(share, PIECE_BYTES);
  const wait = share.wait(PIECE_BYTES);
  share.close();
  share.release(await wait);
  if (held !== undefined) share.release(held);
  expect(pool.lentBytes).toBe(0);
});
