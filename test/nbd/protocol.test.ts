import { expect, test } from 'vitest';
import { type ErrorKind, TmemError } from '../../src/lib/errors.ts';
import { NbdErrno, nbdErrnoOf } from '../../src/nbd/protocol.ts';

test.each<[ErrorKind, number]>([
  ['usage', NbdErrno.EINVAL],
  ['not-found', NbdErrno.EIO],
  ['permission', NbdErrno.EPERM],
  ['busy', NbdErrno.EIO],
  ['invalid', NbdErrno.EINVAL],
  ['read-only', NbdErrno.EPERM],
  ['no-space', NbdErrno.ENOSPC],
  ['io', NbdErrno.EIO],
  ['unsupported', NbdErrno.EINVAL],
  ['shutdown', NbdErrno.ESHUTDOWN],
])('a failure of kind %s is errno %i', (kind, errno) => {
  expect(nbdErrnoOf(new TmemError(kind, 'failed'))).toBe(errno);
});

test.each(['ENOSPC', 'EDQUOT', 'EFBIG'])('a system call that failed with %s is ENOSPC', (code) => {
  expect(nbdErrnoOf(Object.assign(new Error('failed'), { code }))).toBe(NbdErrno.ENOSPC);
});

test.each([undefined, 'text', new Error('failed'), Object.assign(new Error(), { code: 'EXDEV' })])(
  'what is no known failure is EIO: %o',
  (cause) => {
    expect(nbdErrnoOf(cause)).toBe(NbdErrno.EIO);
  },
);
