/** Moving all of a request's bytes with positioned reads or writes, however short each one is. */

/** `fs.read`, `fs.write`, and what does the same by another way. */
export type PositionedCall = (
  fd: number,
  buffer: Buffer,
  bufferOffset: number,
  length: number,
  position: number,
  callback: (error: NodeJS.ErrnoException | null, count: number) => void,
) => void;

/** The code of the Error a transfer ends with that moved nothing, as a read past the end does. */
export const END_OF_FILE = 'EOF';

/**
 * Moves `length` bytes, at least 1, and calls `done` once: with null or with what went wrong, and
 * the descriptor it ended on. The first call is made on `firstFd`, the rest after a short one on
 * `restFd`, because what is left need not be aligned. A first call that fails with EINVAL (alignment
 * rules that could not be foreseen) is made again on `restFd`. `onRest` is told before the first call
 * on `restFd` that is not the first of all, and lets it be made when it may.
 */
export function transferFully(
  firstCall: PositionedCall,
  firstFd: number,
  restCall: PositionedCall,
  restFd: number,
  buffer: Buffer,
  bufferOffset: number,
  length: number,
  offset: number,
  done: (failure: Error | null, fd: number) => void,
  onRest: (goOn: () => void) => void = (goOn) => goOn(),
): void {
  let movedBytes = 0;
  let fd = firstFd;
  const onMoved = (error: NodeJS.ErrnoException | null, count: number) => {
    if (error !== null && (error.code !== 'EINVAL' || fd === restFd)) return done(error, fd);
    if (error === null) {
      if (count === 0) return done(endOfFile(offset + movedBytes), fd);
      movedBytes += count;
      if (movedBytes === length) return done(null, fd);
    }
    if (fd === restFd) goOn();
    else onRest(goOn);
  };
  const goOn = () => {
    fd = restFd;
    const at = bufferOffset + movedBytes;
    restCall(fd, buffer, at, length - movedBytes, offset + movedBytes, onMoved);
  };
  firstCall(fd, buffer, bufferOffset, length, offset, onMoved);
}

/** The failure of finding nothing at `offset`, which lies inside what the file once was. */
export function endOfFile(offset: number): Error {
  const message = `the file ends before offset ${offset}`;
  return Object.assign(new Error(message), { code: END_OF_FILE });
}
