import { describe, expect, it } from 'vitest';
import { type PositionedCall, transferFully } from '../../src/storage/transfer.ts';

const DIRECT = 10;
const BUFFERED = 11;

/** A call that answers each request with the next count or error code, and what it was asked. */
function scripted(answers: (number | string)[]) {
  const asked: number[][] = [];
  const call: PositionedCall = (fd, _buffer, bufferOffset, length, position, callback) => {
    asked.push([fd, bufferOffset, length, position]);
    const answer = answers.shift() ?? 0;
    const error = Object.assign(new Error(`${answer}`), { code: `${answer}` });
    setImmediate(() => (typeof answer === 'number' ? callback(null, answer) : callback(error, 0)));
  };
  return { asked, call };
}

function transfer(call: PositionedCall): Promise<{ code: unknown; fd: number }> {
  return new Promise((resolve) => {
    transferFully(call, DIRECT, call, BUFFERED, Buffer.alloc(200), 50, 100, 4096, (failure, fd) =>
      resolve({ code: failure === null ? null : Reflect.get(failure, 'code'), fd }),
    );
  });
}

describe('a transfer', () => {
  it('is one call when all bytes move at once', async () => {
    const { asked, call } = scripted([100]);
    expect(await transfer(call)).toEqual({ code: null, fd: DIRECT });
    expect(asked).toEqual([[DIRECT, 50, 100, 4096]]);
  });

  it('goes on after short calls, where alignment does not matter', async () => {
    const { asked, call } = scripted([30, 1, 69]);
    expect(await transfer(call)).toEqual({ code: null, fd: BUFFERED });
    expect(asked).toEqual([
      [DIRECT, 50, 100, 4096],
      [BUFFERED, 80, 70, 4126],
      [BUFFERED, 81, 69, 4127],
    ]);
  });

  it('is made again, buffered, when its alignment was refused', async () => {
    const { asked, call } = scripted(['EINVAL', 100]);
    expect(await transfer(call)).toEqual({ code: null, fd: BUFFERED });
    expect(asked.map(([fd]) => fd)).toEqual([DIRECT, BUFFERED]);
  });

  it('fails when that is refused too', async () => {
    const { asked, call } = scripted(['EINVAL', 'EINVAL']);
    expect(await transfer(call)).toEqual({ code: 'EINVAL', fd: BUFFERED });
    expect(asked).toHaveLength(2);
  });

  it('fails as a whole when a later call fails', async () => {
    expect(await transfer(scripted([99, 'EIO']).call)).toMatchObject({ code: 'EIO' });
  });

  it('fails when nothing moves', async () => {
    expect(await transfer(scripted([50, 0]).call)).toMatchObject({ code: 'EOF' });
  });
});
