/**
 * The commands that carry no data: FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS and a WRITE of
 * nothing. Each goes on beside the taking of requests and is answered when it is done.
 *
 * Source: NBD specification, "Request types" and "NBD_CMD_FLAG_FUA".
 */

import { Command, CommandFlag, fastZeroErrnoOf, NbdErrno, nbdErrnoOf } from '../protocol.ts';
import { answerBlockStatus } from './block-status.ts';
import type { Request } from './request.ts';
import type { Transmission } from './transmission.ts';

/** Begins what the request asks for. */
export function carryOutOther(transmission: Transmission, request: Request): void {
  const { command, offset, length, flags } = request;
  const target = transmission.options.export;
  const cookie = request.cookie();
  const hasFua = (flags & CommandFlag.FUA) !== 0;
  const mustBeFast = (flags & CommandFlag.FAST_ZERO) !== 0;
  const answer = (errno: number): void => transmission.appendShort(cookie, command, errno);
  const finish = (work: Promise<void>): void =>
    transmission.wait(command, work, answer, mustBeFast ? fastZeroErrnoOf : nbdErrnoOf);
  const finishWhenStable = (work: Promise<void>): void =>
    finish(hasFua ? work.then(() => target.sync()) : work);
  switch (command) {
    case Command.FLUSH:
      finish(target.sync());
      break;
    case Command.TRIM:
      finishWhenStable(target.trim(offset, length));
      break;
    case Command.CACHE:
      finish(target.reads.prefetch(offset, length, () => transmission.mayGoOn));
      break;
    case Command.BLOCK_STATUS:
      answerBlockStatus(transmission, cookie, request);
      break;
    case Command.WRITE_ZEROES:
      if (mustBeFast && !target.image.supports.fastZeroes) {
        transmission.answerAtOnce(request, NbdErrno.ENOTSUP);
      } else {
        const mayDiscard = (flags & CommandFlag.NO_HOLE) === 0;
        finishWhenStable(target.writeZeroes(offset, length, mayDiscard, mustBeFast));
      }
      break;
    default: // a WRITE of nothing
      finishWhenStable(Promise.resolve());
  }
}
