/**
 * The one error type of the project: a small kind to match on, the context it happened in, and
 * its cause. The message is one sentence that says what was attempted on what, and what to do.
 */

import { constants } from 'node:os';

/** What went wrong, coarse enough to choose an NBD errno or an exit code by. */
export type ErrorKind =
  | 'usage' // what the user asked for cannot be understood
  | 'not-found' // no such file, export or pool
  | 'permission' // not allowed by the system
  | 'busy' // a port, path or image is in use
  | 'invalid' // well-formed, but against the rules (range, alignment, state)
  | 'read-only' // a write to something that takes none
  | 'no-space' // the medium is full
  | 'io' // the medium failed
  | 'unsupported' // the medium or the build cannot do this
  | 'shutdown'; // the service is going away

/** An operational failure, as opposed to a broken invariant (which throws a plain Error). */
export class TmemError extends Error {
  readonly kind: ErrorKind;
  /** Names and numbers the message speaks of, for logs and JSON. */
  readonly context: Readonly<Record<string, string | number | boolean>>;

  constructor(
    kind: ErrorKind,
    message: string,
    options: { context?: Record<string, string | number | boolean>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'TmemError';
    this.kind = kind;
    this.context = options.context ?? {};
  }
}

/** Throws a usage error: what the user asked for cannot be done as it stands. */
export function refuse(message: string): never {
  throw new TmemError('usage', message);
}

const KIND_BY_ERRNO: Readonly<Record<string, ErrorKind>> = {
  ENOENT: 'not-found',
  ENOTDIR: 'not-found',
  ELOOP: 'not-found',
  ENAMETOOLONG: 'usage',
  EISDIR: 'usage',
  EACCES: 'permission',
  EPERM: 'permission',
  EBUSY: 'busy',
  ETXTBSY: 'busy',
  EADDRINUSE: 'busy',
  EADDRNOTAVAIL: 'usage',
  EROFS: 'read-only',
  ENOSPC: 'no-space',
  EDQUOT: 'no-space',
  EFBIG: 'no-space',
  EINVAL: 'invalid',
  EOPNOTSUPP: 'unsupported',
  ENOTSUP: 'unsupported',
};

/** The kind a failed system call stands for; anything unknown is an I/O error. */
export function kindOfSystemError(cause: unknown): ErrorKind {
  if (cause instanceof TmemError) return cause.kind;
  const code = systemErrorCode(cause);
  return (code !== undefined && KIND_BY_ERRNO[code]) || 'io';
}

/** What to do when the system failed: `usual`, unless its answer says what. */
export function systemAdvice(cause: unknown, usual: string): string {
  const code = systemErrorCode(cause);
  if (code === 'ENAMETOOLONG') return 'give it a shorter name';
  return code === 'EMFILE' ? 'let it have more files open at a time (ulimit -n)' : usual;
}

/** What ELOOP is about. */
export const LINKS_IN_CIRCLE = 'its symbolic links lead in a circle; check where they lead';

/** Why a file could not be read, and what to do about it. */
export function readAdvice(cause: unknown): string {
  const advice: Partial<Record<ErrorKind, string>> = {
    'not-found': 'there is no such file; check the path',
    permission: 'this user may not read it; change its mode or owner',
  };
  const code = systemErrorCode(cause) ?? String(cause);
  if (code === 'EISDIR') return 'it is a directory; name a file';
  if (code === 'ELOOP') return LINKS_IN_CIRCLE;
  return (
    advice[kindOfSystemError(cause)] ??
    `the system answered ${code}; ${systemAdvice(cause, 'check the disk that it is on')}`
  );
}

/** What to do about a file that could not be made or written, by the kind of the failure. */
export function writeAdvice(kind: ErrorKind): string {
  const advice: Partial<Record<ErrorKind, string>> = {
    'not-found': 'make its directory first, or name another path',
    'read-only': 'its file system takes no writes; name another path',
    permission:
      'this user may not write there; change the mode of the directory, or name another path',
    'no-space': 'make room there',
  };
  return advice[kind] ?? 'check the path and the disk it is on';
}

/** What Node calls EDQUOT, since libuv has no name for it. */
const UNNAMED_QUOTA = `Unknown system error -${constants.errno.EDQUOT}`;
const UNNAMED_QUOTA_TEXT = new RegExp(`${UNNAMED_QUOTA}(: (unknown|${UNNAMED_QUOTA}))?`);

/** The `E…` code of a failed system call, if it carries one. */
export function systemErrorCode(cause: unknown): string | undefined {
  const code = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
  if (code === UNNAMED_QUOTA) return 'EDQUOT';
  return typeof code === 'string' ? code : undefined;
}

/** What was thrown, in words. */
export function messageOf(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  return message.replace(UNNAMED_QUOTA_TEXT, 'EDQUOT: disk quota exceeded');
}
