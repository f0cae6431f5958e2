/** What a command line is written in. */

import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { refuse } from '../../lib/errors.ts';

/** What Node puts in the place of bytes that are not UTF-8. */
const REPLACEMENT = '\ufffd';

/** The command line as it was given; nothing where the system does not tell. */
function commandLine(): Buffer {
  try {
    return readFileSync('/proc/self/cmdline');
  } catch {
    return Buffer.alloc(0);
  }
}

/**
 * Throws a usage error if an argument was not given in UTF-8: what Node makes of it is the name of
 * another file, which would not be found, or made.
 */
export function checkEncoding(args: readonly string[]): void {
  const arg = args.find((each) => each.includes(REPLACEMENT));
  // The name of a file may hold that very character.
  if (arg === undefined || isUtf8(commandLine())) return;
  refuse(`"${arg}" is not in UTF-8; use or make a name that is`);
}
