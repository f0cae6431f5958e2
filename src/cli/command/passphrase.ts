/** The passphrase of an enciphered image, from a file. */

import { readHead } from '../../config/read-head.ts';
import { kindOfSystemError, readAdvice, TmemError } from '../../lib/errors.ts';

const PASSPHRASE_BYTES_MAX = 4096;

/**
 * What is in the file at `path`, an absolute one, without the line end that editors leave behind.
 * Throws a TmemError whose message never shows what was found.
 */
export function readPassphrase(path: string): Buffer {
  const bytes = read(path);
  const isLine = bytes.at(-1) === 0x0a;
  const passphrase = isLine ? bytes.subarray(0, -1) : bytes;
  if (passphrase.length > 0 && passphrase.length <= PASSPHRASE_BYTES_MAX) return passphrase;
  const most = `1 to ${PASSPHRASE_BYTES_MAX} bytes`;
  throw new TmemError('usage', `${path} holds no passphrase; it is one line of ${most}`);
}

/** The passphrases of several images, which may be in one file: each file is read once. */
export class Passphrases {
  readonly #known = new Map<string, Buffer>();

  /** As `readPassphrase`; the answer is the same buffer for the same path. */
  of(path: string): Buffer {
    const passphrase = this.#known.get(path) ?? readPassphrase(path);
    this.#known.set(path, passphrase);
    return passphrase;
  }
}

function read(path: string): Buffer {
  try {
    return readHead(path, PASSPHRASE_BYTES_MAX + 2);
  } catch (cause) {
    const sentence = `cannot read the passphrase in ${path}: ${readAdvice(cause)}`;
    throw new TmemError(kindOfSystemError(cause), sentence, { cause });
  }
}
