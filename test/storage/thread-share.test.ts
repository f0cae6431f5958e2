import { describe, expect, test } from 'vitest';
import { THREAD_IO } from '../../src/storage/thread-io.ts';
import { shareThreads, ThreadShare } from '../../src/storage/thread-share.ts';
import type { PositionedCall } from '../../src/storage/transfer.ts';

/** A share of calls that end when the test says so, in the order they began. */
function heldCalls() {
  const begun: number[] = [];
  const ends: Parameters<PositionedCall>[5][] = [];
  const call: PositionedCall = (_fd, _buffer, _bufferOffset, _length, position, callback) => {
    begun.push(position);
    ends.push(callback);
  };
  const io = { ...THREAD_IO, read: call, write: call };
  const ended: number[] = [];
  const share = new ThreadShare(io);
  const ask = (verb: 'read' | 'write', position: number): void =>
    share[verb](0, Buffer.alloc(1), 0, 1, position, () => ended.push(position));
  return { share, ask, begun, ended, endNext: () => ends.shift()?.(null, 1) };
}

describe('the threads that one file may have', () => {
  test.each([
    ['16', 12],
    ['4', 3],
    ['4x', 3],
    ['1', 1],
    ['many', 1],
    ['0', 1],
    ['100000', 768],
    ['-3', 768],
  ])('are three quarters of UV_THREADPOOL_SIZE=%s, as libuv reads it', (wanted, most) => {
    shareThreads(wanted);
    const { ask, begun } = heldCalls();
    for (let position = 0; position < 1000; position++) ask('read', position);
    expect(begun.length).toBe(most);
  });

  test('go to those who wait in the order they came, whatever they want one for', async () => {
    shareThreads('4');
    const { share, ask, begun, ended, endNext } = heldCalls();
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
});
