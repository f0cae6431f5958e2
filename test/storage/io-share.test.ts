import { describe, expect, test } from 'vitest';
import { IoPlaces, shareThreads, THREADS } from '../../src/storage/io-places.ts';
import { IoShare } from '../../src/storage/io-share.ts';
import { THREAD_IO } from '../../src/storage/thread-io.ts';
import type { PositionedCall } from '../../src/storage/transfer.ts';

/** A share of calls that end when the test says so, in the order they began. */
function heldCalls(places = THREADS) {
  const begun: number[] = [];
  const ends: Parameters<PositionedCall>[5][] = [];
  const call: PositionedCall = (_fd, _buffer, _bufferOffset, _length, position, callback) => {
    begun.push(position);
    ends.push(callback);
  };
  const io = { ...THREAD_IO, places, read: call, write: call };
  const ended: number[] = [];
  const share = new IoShare(io);
  const ask = (verb: 'read' | 'write', position: number): void =>
    share[verb](0, Buffer.alloc(1), 0, 1, position, () => ended.push(position));
  const endNext = () => ends.shift()?.(null, 1);
  return { share, ask, begun, ended, endNext, underWayCount: () => ends.length };
}

describe('the threads that one file may have', () => {
  test.each([
    ['16', 8],
    ['4', 2],
    ['4x', 2],
    ['1', 1],
    ['many', 1],
    ['0', 1],
    ['100000', 512],
    ['-3', 512],
  ])('are half of UV_THREADPOOL_SIZE=%s, as libuv reads it', (wanted, most) => {
    shareThreads(wanted);
    const { ask, begun } = heldCalls();
    for (let position = 0; position < 1000; position++) ask('read', position);
    expect(begun.length).toBe(most);
  });

  test('go to those who wait in the order they came, whatever they want one for', async () => {
    const { share, ask, begun, ended, endNext } = heldCalls(new IoPlaces(6));
    for (let position = 0; position < 4; position++) ask('write', position);
    const others: string[] = [];
    const failing = share.run(async () => {
      others.push('failing');
      throw new Error('it is held to fail');
    });
    const told = failing.catch((cause: Error) => others.push(cause.message));
    ask('read', 5);
    expect(begun).toEqual([0, 1, 2]);
    endNext();
    expect([begun, ended]).toEqual([[0, 1, 2, 3], [0]]);
    endNext();
    await told;
    expect(others).toEqual(['failing', 'it is held to fail']);
    expect(begun).toEqual([0, 1, 2, 3, 5]);
    for (let i = 0; i < 3; i++) endNext();
    expect(ended).toEqual([0, 1, 2, 3, 5]);
  });

  test('are half of what others leave, however long those keep it', () => {
    const places = new IoPlaces(16);
    const counts = [8, 4, 2, 1, 1, 0];
    for (const most of counts) {
      const { ask, begun } = heldCalls(places);
      for (let position = 0; position < 16; position++) ask('read', position);
      expect(begun.length).toBe(most);
    }
  });

  test('are as many for each of those who keep them busy', () => {
    const places = new IoPlaces(16);
    const files = [heldCalls(places), heldCalls(places)];
    for (let turn = 0; turn < 20; turn++) {
      for (const { ask } of files) for (let i = 0; i < 20; i++) ask('read', i);
      for (const { endNext } of files) endNext();
    }
    expect(files.map(({ underWayCount }) => underWayCount())).toEqual([6, 5]);
  });
});
