/** What every command says of itself: its help text, and the version of the program. */

import { packageVersion } from '../../lib/package-version.ts';
import type { COMMON_OPTIONS, ParsedArguments } from './arguments.ts';
import type { CliContext } from './context.ts';

/** Prints the help text, or the version, if that was asked for; answers whether it was. */
export function printsAbout(
  parsed: ParsedArguments<keyof typeof COMMON_OPTIONS>,
  help: string,
  context: CliContext,
): boolean {
  if (parsed.has('help')) context.stdout(help);
  else if (parsed.has('version')) context.stdout(`tmem ${packageVersion()}\n`);
  else return false;
  return true;
}
