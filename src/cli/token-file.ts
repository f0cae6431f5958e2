/** The bearer token of the admin API, out of a file or a variable. */

import { closeSync, openSync, readSync } from 'node:fs';
import { kindOfSystemError, systemErrorCode, TmemError } from '../lib/errors.ts';

const TOKEN_LENGTH_MAX = 4096;

/** The first bytes of a file, so that a device or a disk given by mistake is not read whole. */
function readHead(path: string): string {
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(TOKEN_LENGTH_MAX + 1);
    return bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, null));
  } finally {
    closeSync(fd);
  }
}

function readOrExplain(path: string): string {
  try {
    return readHead(path);
  } catch (cause) {
    const isMissing = systemErrorCode(cause) === 'ENOENT';
    const why = isMissing ? 'there is no such file' : (cause as Error).message;
    const sentence = `cannot read the token in ${path}: ${why}`;
    throw new TmemError(kindOfSystemError(cause), sentence, { cause });
  }
}

/**
 * The token in `text`, which came from `source`. Throws a usage error for what no header can carry;
 * its message never shows what was found.
 */
export function checkToken(text: string, source: string): string {
  const token = text.trim();
  if (/^[\x21-\x7e]+$/.test(token) && token.length <= TOKEN_LENGTH_MAX) return token;
  const sentence = `${source} holds no token; it is one line without spaces`;
  throw new TmemError('usage', `${sentence}, of at most ${TOKEN_LENGTH_MAX} characters`);
}

/** The token in the file at `path`, an absolute one, without the line end. Throws a TmemError. */
export function readToken(path: string): string {
  return checkToken(readOrExplain(path), path);
}
